/**
 * The C++ kernels, as text. Each computes what `emit/integer/program.ts` defines; a generated source contains those it
 * uses. Standard C++17, fixed-width integers, no heap, nothing beyond the standard library's headers.
 */
import { ROW_KERNELS } from './kernels-rows.js';

/** Names of the pieces, in the order in which they have to appear. */
export type KernelName = keyof typeof KERNELS;

export const KERNELS = {
  rescale: `
// v · multiplier / 2^shift, rounded, limited, brought into the word of the result.
enum class Rounding { AP_TRN, AP_TRN_ZERO, AP_RND, AP_RND_ZERO, AP_RND_MIN_INF, AP_RND_INF, AP_RND_CONV };
enum class Overflow { AP_WRAP, AP_SAT, AP_SAT_ZERO, AP_SAT_SYM, AP_WRAP_SM };

struct Word {
  int bits;
  bool is_signed;
  std::int64_t low;
  std::int64_t high;
};

template <typename M>
struct Rescale {
  const M* multiplier;
  const std::uint8_t* shift;
  std::int64_t limit_low;
  std::int64_t limit_high;
  std::int32_t zero_point;
  Word word;
};

// 2^n.
template <typename T>
constexpr T power_of_two(int n) { return static_cast<T>(static_cast<T>(1) << n); }

// floor(v / 2^n); a right shift of a negative number is left to the compiler before C++20.
template <typename T>
constexpr T floor_shift(T v, int n) {
  return static_cast<T>(v >= 0 ? static_cast<T>(v >> n) : static_cast<T>(~static_cast<T>(static_cast<T>(~v) >> n)));
}

template <Rounding R, typename T>
constexpr T round_shift(T v, int n) {
  const T below = floor_shift(v, n);
  if (n == 0 || R == Rounding::AP_TRN) return below;
  const T rest = static_cast<T>(v & static_cast<T>(power_of_two<T>(n) - 1));
  const T above = static_cast<T>(below + 1);
  if constexpr (R == Rounding::AP_TRN_ZERO) return v < 0 && rest != 0 ? above : below;
  const T half = power_of_two<T>(n - 1);
  if (rest != half) return rest > half ? above : below;
  if constexpr (R == Rounding::AP_RND) return above;
  if constexpr (R == Rounding::AP_RND_MIN_INF) return below;
  if constexpr (R == Rounding::AP_RND_ZERO) return v < 0 ? above : below;
  if constexpr (R == Rounding::AP_RND_INF) return v > 0 ? above : below;
  return static_cast<T>(below & static_cast<T>(1)) != 0 ? above : below;
}

template <typename T>
constexpr T wrap(T v, const Word& word) {
  const T modulus = power_of_two<T>(word.bits);
  const T low = static_cast<T>(v & static_cast<T>(modulus - 1));
  return word.is_signed && low >= power_of_two<T>(word.bits - 1) ? static_cast<T>(low - modulus) : low;
}

// \`before\` is the value before rounding, rounded down; only sign-magnitude wrap looks at it.
template <Overflow O, typename T>
constexpr T into_word(T v, [[maybe_unused]] T before, const Word& word) {
  const T low = static_cast<T>(word.low);
  const T high = static_cast<T>(word.high);
  if (v >= low && v <= high) return v;
  if constexpr (O == Overflow::AP_SAT_ZERO) {
    return static_cast<T>(0);
  } else if constexpr (O == Overflow::AP_WRAP) {
    return wrap(v, word);
  } else if constexpr (O == Overflow::AP_WRAP_SM) {
    const T kept = wrap(v, word);
    const bool dropped = static_cast<T>(floor_shift(before, word.bits) & static_cast<T>(1)) != 0;
    return dropped == (kept < 0) ? kept : static_cast<T>(-1 - kept);
  } else {
    return v < low ? low : high;
  }
}

template <typename Wide, Rounding R, Overflow O, typename V, typename M>
constexpr Wide rescale(const V& v, const Rescale<M>& how, std::size_t channel) {
  const Wide scaled = product<Wide>(v, how.multiplier[channel]);
  const int shift = how.shift[channel];
  const Wide rounded = round_shift<R>(scaled, shift);
  const Wide low = static_cast<Wide>(how.limit_low);
  const Wide high = static_cast<Wide>(how.limit_high);
  const Wide limited = rounded < low ? low : rounded > high ? high : rounded;
  const Wide before = limited == rounded ? floor_shift(scaled, shift) : limited;
  return into_word<O>(static_cast<Wide>(limited + how.zero_point), before, how.word);
}
`,
  quantize: `
// One float32 quotient, then exact in double precision. NaN becomes zero.
template <Rounding R, Overflow O, typename T>
void quantize(const float* x, T* y, std::size_t count, float scale, std::int32_t zero_point, const Word& word) {
  constexpr double far = 35184372088832.0;
  for (std::size_t i = 0; i < count; ++i) {
    const double v = static_cast<double>(x[i] / scale);
    if (v != v) {
      y[i] = static_cast<T>(zero_point);
      continue;
    }
    const double bounded = std::min(std::max(v, -far), far);
    const double below = std::floor(bounded);
    const double rest = bounded - below;
    const std::int64_t integer = static_cast<std::int64_t>(below);
    // Four units a step hold everything that decides: the parity, and where the rest lies.
    const std::int64_t position = rest == 0 ? 0 : rest < 0.5 ? 1 : rest == 0.5 ? 2 : 3;
    const std::int64_t rounded = round_shift<R>(integer * 4 + position, 2);
    y[i] = static_cast<T>(into_word<O>(rounded + zero_point, integer, word));
  }
}
`,
  dequantize: `
template <typename T>
void dequantize(const T* x, float* y, std::size_t count, float scale, std::int32_t zero_point) {
  for (std::size_t i = 0; i < count; ++i)
    y[i] = static_cast<float>(static_cast<std::int32_t>(x[i]) - zero_point) * scale;
}
`,
  window: `
struct Window {
  int height, width;                // input
  int out_height, out_width;        // output
  int kernel_height, kernel_width;
  int stride_height, stride_width;
  int top, left;                    // padding
  int dilation_height, dilation_width;
};
`,
  convolution: `
template <typename Acc, typename In, typename B, typename Wide, Rounding R, Overflow O, typename X, typename W,
          typename M, typename Y>
void convolution(const X* x, Y* y, const W* weight, const B* bias, const Window& window, int channels, int rows,
                 int groups, std::int32_t zero_point, const Rescale<M>& how, bool by_channel) {
  const int depth = channels / groups;
  const int taps = window.kernel_height * window.kernel_width;
  for (int m = 0; m < rows; ++m) {
    const X* first = x + static_cast<std::size_t>(m / (rows / groups)) * depth * window.height * window.width;
    const W* kernel = weight + static_cast<std::size_t>(m) * depth * taps;
    for (int h = 0; h < window.out_height; ++h) {
      for (int w = 0; w < window.out_width; ++w) {
        Acc v = bias == nullptr ? static_cast<Acc>(0) : static_cast<Acc>(bias[m]);
        for (int c = 0; c < depth; ++c) {
          for (int kh = 0; kh < window.kernel_height; ++kh) {
            const int row = h * window.stride_height - window.top + kh * window.dilation_height;
            if (row < 0 || row >= window.height) continue;
            for (int kw = 0; kw < window.kernel_width; ++kw) {
              const int column = w * window.stride_width - window.left + kw * window.dilation_width;
              if (column < 0 || column >= window.width) continue;
              const In in = difference<In>(first[(c * window.height + row) * window.width + column], zero_point);
              v += product<Acc>(in, kernel[c * taps + kh * window.kernel_width + kw]);
            }
          }
        }
        *y++ = static_cast<Y>(rescale<Wide, R, O>(v, how, by_channel ? static_cast<std::size_t>(m) : 0));
      }
    }
  }
}
`,
  matrix_product: `
// Leading axes are blocks; a_block and b_block say where the operands of each begin, in blocks.
template <typename Acc, typename InA, typename InB, typename C, typename Wide, Rounding R, Overflow O, typename A,
          typename B, typename M, typename Y>
void matrix_product(const A* a, const B* b, Y* y, const C* bias, const std::uint32_t* a_block,
                    const std::uint32_t* b_block, std::size_t blocks, int rows, int depth, int columns,
                    std::int32_t a_zero, std::int32_t b_zero, const Rescale<M>& how, bool by_channel) {
  for (std::size_t block = 0; block < blocks; ++block) {
    const A* left = a + static_cast<std::size_t>(a_block[block]) * rows * depth;
    const B* right = b + static_cast<std::size_t>(b_block[block]) * depth * columns;
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < columns; ++j) {
        Acc v = bias == nullptr ? static_cast<Acc>(0) : static_cast<Acc>(bias[j]);
        for (int k = 0; k < depth; ++k)
          v += product<Acc>(difference<InA>(left[i * depth + k], a_zero),
                            difference<InB>(right[k * columns + j], b_zero));
        *y++ = static_cast<Y>(rescale<Wide, R, O>(v, how, by_channel ? static_cast<std::size_t>(j) : 0));
      }
    }
  }
}
`,
  strided: `
// Position of an element in a tensor seen through strides, from its row-major index in the shape.
template <std::size_t Rank>
struct View {
  std::uint32_t dims[Rank];
  std::int32_t strides[Rank];
  std::int32_t offset;

  constexpr std::size_t operator()(std::size_t index) const {
    std::int64_t at = offset;
    for (std::size_t axis = Rank; axis-- > 0;) {
      at += static_cast<std::int64_t>(index % dims[axis]) * strides[axis];
      index /= dims[axis];
    }
    return static_cast<std::size_t>(at);
  }
};
`,
  window_sum: `
template <typename Acc, typename Wide, Rounding R, Overflow O, typename X, typename M, typename Y>
void window_sum(const X* x, Y* y, const Window& window, std::size_t maps, std::int32_t zero_point,
                const Rescale<M>& how) {
  for (std::size_t map = 0; map < maps; ++map, x += window.height * window.width) {
    for (int h = 0; h < window.out_height; ++h) {
      for (int w = 0; w < window.out_width; ++w) {
        Acc v = 0;
        for (int kh = 0; kh < window.kernel_height; ++kh) {
          const int row = h * window.stride_height - window.top + kh * window.dilation_height;
          if (row < 0 || row >= window.height) continue;
          for (int kw = 0; kw < window.kernel_width; ++kw) {
            const int column = w * window.stride_width - window.left + kw * window.dilation_width;
            if (column >= 0 && column < window.width)
              v += difference<Acc>(x[row * window.width + column], zero_point);
          }
        }
        *y++ = static_cast<Y>(rescale<Wide, R, O>(v, how, 0));
      }
    }
  }
}
`,
  window_max: `
template <typename T>
void window_max(const T* x, T* y, const Window& window, std::size_t maps, std::int64_t lowest) {
  for (std::size_t map = 0; map < maps; ++map, x += window.height * window.width) {
    for (int h = 0; h < window.out_height; ++h) {
      for (int w = 0; w < window.out_width; ++w) {
        T largest = static_cast<T>(lowest);
        for (int kh = 0; kh < window.kernel_height; ++kh) {
          const int row = h * window.stride_height - window.top + kh * window.dilation_height;
          if (row < 0 || row >= window.height) continue;
          for (int kw = 0; kw < window.kernel_width; ++kw) {
            const int column = w * window.stride_width - window.left + kw * window.dilation_width;
            if (column >= 0 && column < window.width) largest = std::max(largest, x[row * window.width + column]);
          }
        }
        *y++ = largest;
      }
    }
  }
}
`,
  axis_sum: `
// \`kept\` finds the first element of a sum, \`summed\` the others from there.
template <typename Acc, typename Wide, Rounding R, Overflow O, typename X, typename M, typename Y, std::size_t KeptRank,
          std::size_t SummedRank>
void axis_sum(const X* x, Y* y, const View<KeptRank>& kept, std::size_t sums, const View<SummedRank>& summed,
              std::size_t size, std::int32_t zero_point, const Rescale<M>& how) {
  for (std::size_t i = 0; i < sums; ++i) {
    const X* first = x + kept(i);
    Acc v = 0;
    for (std::size_t k = 0; k < size; ++k) v += difference<Acc>(first[summed(k)], zero_point);
    y[i] = static_cast<Y>(rescale<Wide, R, O>(v, how, 0));
  }
}
`,
  lookup: `
template <typename X, typename Y>
void lookup(const X* x, Y* y, std::size_t count, const Y* table, std::int32_t low) {
  for (std::size_t i = 0; i < count; ++i) y[i] = table[static_cast<std::int32_t>(x[i]) - low];
}
`,
  ...ROW_KERNELS,
} as const satisfies Record<string, string>;

/** What each piece builds on. */
export const REQUIRES: Partial<Record<KernelName, readonly KernelName[]>> = {
  quantize: ['rescale'],
  convolution: ['rescale', 'window'],
  matrix_product: ['rescale'],
  axis_sum: ['rescale', 'strided'],
  window_sum: ['rescale', 'window'],
  window_max: ['window'],
  layer_norm: ['rescale'],
  copy: ['strided'],
  place: ['strided'],
};

/** The text of some kernels and all they build on. */
export function kernelText(used: ReadonlySet<KernelName>): string {
  const needed = new Set<KernelName>();
  const add = (name: KernelName): void => {
    if (needed.has(name)) return;
    needed.add(name);
    REQUIRES[name]?.forEach(add);
  };
  used.forEach(add);
  return (Object.keys(KERNELS) as KernelName[])
    .filter((name) => needed.has(name))
    .map((name) => KERNELS[name])
    .join('');
}
