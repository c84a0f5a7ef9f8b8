/** C++ kernels, as text, that work row by row, and those that move codes. */

export const ROW_KERNELS = {
  softmax: `
// Shares of exponentials read from a table of the distance to the largest code.
template <typename Wide, typename X, typename E, typename Y>
void softmax(const X* x, Y* y, std::size_t outer, std::size_t length, std::size_t inner, const E* exponentials,
             std::int32_t last, std::int64_t multiplier, int shift, std::int32_t zero_point, std::int64_t highest) {
  for (std::size_t row = 0; row < outer * inner; ++row) {
    const std::size_t from = row / inner * length * inner + row % inner;
    const auto code = [&](std::size_t i) { return static_cast<std::int32_t>(x[from + i * inner]); };
    std::int32_t top = code(0);
    for (std::size_t i = 1; i < length; ++i) top = std::max(top, code(i));
    const auto exponential = [&](std::size_t i) { return static_cast<Wide>(exponentials[std::min(top - code(i), last)]); };
    Wide total = static_cast<Wide>(0);
    for (std::size_t i = 0; i < length; ++i) total += exponential(i);
    const Wide divisor = static_cast<Wide>(total << shift);
    const Wide half = static_cast<Wide>(divisor >> 1);
    for (std::size_t i = 0; i < length; ++i) {
      const Wide dividend = static_cast<Wide>(exponential(i) * static_cast<Wide>(multiplier) + half);
      const Wide share = static_cast<Wide>(static_cast<Wide>(dividend / divisor) + zero_point);
      y[from + i * inner] = static_cast<Y>(share > static_cast<Wide>(highest) ? static_cast<Wide>(highest) : share);
    }
  }
}
`,
  layer_norm: `
// floor(sqrt(x)) of an x below 4^(Digit + 1), digit by digit.
template <int Digit, typename T>
constexpr T square_root(T x) {
  T root = static_cast<T>(0);
  for (T bit = power_of_two<T>(2 * Digit); bit != 0; bit = static_cast<T>(bit >> 2)) {
    const T trial = static_cast<T>(root + bit);
    root = static_cast<T>(root >> 1);
    if (x >= trial) {
      x = static_cast<T>(x - trial);
      root = static_cast<T>(root + bit);
    }
  }
  return root;
}

template <typename T>
constexpr T floor_divide(T a, T b) {
  return a >= 0 ? static_cast<T>(a / b) : static_cast<T>(-static_cast<T>(static_cast<T>(b - 1 - a) / b));
}

// Deviations from the mean have the type E, their squares S, quotients T.
template <typename Acc, typename E, typename S, int Digit, typename T, typename Wide, Rounding R, Overflow O,
          typename X, typename G, typename B, typename M, typename Y>
void layer_norm(const X* x, Y* y, std::size_t rows, std::int64_t size, std::int32_t zero_point, std::int64_t epsilon,
                int root_shift, std::int64_t unit, const G* gamma, const B* beta, const Rescale<M>& how) {
  for (std::size_t row = 0; row < rows; ++row, x += size) {
    E total = static_cast<E>(0);
    for (std::int64_t i = 0; i < size; ++i) total += difference<E>(x[i], zero_point);
    const auto deviation = [&](std::int64_t i) {
      return static_cast<E>(static_cast<E>(size) * difference<E>(x[i], zero_point) - total);
    };
    S squares = static_cast<S>(epsilon);
    for (std::int64_t i = 0; i < size; ++i) squares += product<S>(deviation(i), deviation(i));
    const S root = square_root<Digit>(static_cast<S>(squares << (2 * root_shift)));
    const T divisor = static_cast<T>(root);
    for (std::int64_t i = 0; i < size; ++i) {
      const T dividend = static_cast<T>(product<T>(deviation(i), static_cast<T>(unit)) + static_cast<T>(root >> 1));
      const Acc v = static_cast<Acc>(product<Acc>(floor_divide(dividend, divisor), gamma[i]) + beta[i]);
      *y++ = static_cast<Y>(rescale<Wide, R, O>(v, how, 0));
    }
  }
}
`,
  copy: `
template <typename T, std::size_t Rank>
void copy_from(const T* x, T* y, std::size_t count, const View<Rank>& from) {
  for (std::size_t i = 0; i < count; ++i) y[i] = x[from(i)];
}
`,
  place: `
template <typename T, std::size_t Rank>
void copy_to(const T* x, T* y, std::size_t count, const View<Rank>& to) {
  for (std::size_t i = 0; i < count; ++i) y[to(i)] = x[i];
}
`,
  gather: `
template <typename T>
void gather(const T* x, T* y, std::size_t outer, std::size_t extent, std::size_t inner, const std::uint32_t* indices,
            std::size_t count) {
  for (std::size_t o = 0; o < outer; ++o)
    for (std::size_t i = 0; i < count; ++i, y += inner)
      std::copy_n(x + (o * extent + indices[i]) * inner, inner, y);
}
`,
} as const satisfies Record<string, string>;
