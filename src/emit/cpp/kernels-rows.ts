/** C++ kernels, as text, that work row by row, and those that move codes. */

export const ROW_KERNELS = {
  softmax: `
// Shares of exponentials read from a table of the distance to the largest code.
template <typename X, typename Y>
void softmax(const X* x, Y* y, std::size_t outer, std::size_t length, std::size_t inner, const std::int32_t* exponentials,
             std::int32_t last, std::int64_t multiplier, int shift, std::int32_t zero_point, std::int64_t highest) {
  for (std::size_t row = 0; row < outer * inner; ++row) {
    const std::size_t from = row / inner * length * inner + row % inner;
    std::int32_t top = x[from];
    for (std::size_t i = 1; i < length; ++i) top = std::max(top, static_cast<std::int32_t>(x[from + i * inner]));
    const auto exponential = [&](std::size_t i) -> std::int64_t {
      return exponentials[std::min(top - static_cast<std::int32_t>(x[from + i * inner]), last)];
    };
    std::int64_t total = 0;
    for (std::size_t i = 0; i < length; ++i) total += exponential(i);
    const std::int64_t divisor = total << shift;
    for (std::size_t i = 0; i < length; ++i) {
      const std::int64_t share = (exponential(i) * multiplier + divisor / 2) / divisor;
      y[from + i * inner] = static_cast<Y>(std::min(share + zero_point, highest));
    }
  }
}
`,
  layer_norm: `
// floor(sqrt(x)), digit by digit.
constexpr std::int64_t square_root(std::int64_t x) {
  std::int64_t root = 0;
  for (std::int64_t bit = std::int64_t{1} << 62; bit != 0; bit >>= 2) {
    if (x >= root + bit) {
      x -= root + bit;
      root = (root >> 1) + bit;
    } else {
      root >>= 1;
    }
  }
  return root;
}

constexpr std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

template <Rounding R, Overflow O, typename X, typename Y>
void layer_norm(const X* x, Y* y, std::size_t rows, std::int64_t size, std::int32_t zero_point, std::int64_t epsilon,
                int root_shift, std::int64_t unit, const std::int32_t* gamma, const std::int32_t* beta,
                const Rescale& how) {
  for (std::size_t row = 0; row < rows; ++row, x += size) {
    std::int64_t total = 0;
    for (std::int64_t i = 0; i < size; ++i) total += static_cast<std::int64_t>(x[i]) - zero_point;
    std::int64_t squares = epsilon;
    for (std::int64_t i = 0; i < size; ++i) {
      const std::int64_t e = size * (static_cast<std::int64_t>(x[i]) - zero_point) - total;
      squares += e * e;
    }
    const std::int64_t root = square_root(squares << (2 * root_shift));
    for (std::int64_t i = 0; i < size; ++i) {
      const std::int64_t e = size * (static_cast<std::int64_t>(x[i]) - zero_point) - total;
      const std::int64_t t = floor_divide(e * unit + root / 2, root);
      *y++ = static_cast<Y>(rescale<R, O>(t * gamma[i] + beta[i], how, 0));
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
