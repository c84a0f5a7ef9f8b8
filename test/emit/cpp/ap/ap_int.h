// A stand-in for the vendor's ap_int.h, written from its documentation for tests: integers of W bits whose operators
// give results as wide as they need and whose assignment keeps the low W bits. Counts what assignment loses, and prints
// the count when the program ends.
#pragma once

#include <cstdint>
#include <cstdio>
#include <type_traits>

namespace ap_stand_in {

__extension__ typedef __int128 wide;

struct Losses {
  unsigned long long count = 0;
  ~Losses() { std::printf("%llu values lost bits\n", count); }
};
inline Losses losses;

constexpr int larger(int a, int b) { return a > b ? a : b; }

template <int W, bool S>
class Word {
  static_assert(W >= 1 && W <= 127, "the stand-in has at most 127 bits");

 public:
  Word() = default;
  template <typename T, std::enable_if_t<std::is_integral_v<T>, int> = 0>
  Word(T x) : value_(kept(static_cast<wide>(x))) {}
  template <int W2, bool S2>
  Word(const Word<W2, S2>& x) : value_(kept(x.value())) {}

  wide value() const { return value_; }
  operator std::int64_t() const { return static_cast<std::int64_t>(value_); }

  /** The low bits of a number, not counted as lost. */
  static Word of_bits(wide x) {
    Word word;
    word.value_ = low_bits(x);
    return word;
  }

  template <typename T>
  Word& operator+=(const T& x) { return *this = *this + x; }
  template <typename T>
  Word& operator-=(const T& x) { return *this = *this - x; }

  // Shifting keeps the width: what leaves it on the left is gone.
  Word operator<<(int n) const { return Word::assigned(value_ * (static_cast<wide>(1) << n)); }
  Word operator>>(int n) const {
    if (n >= W) return of_bits(value_ < 0 ? -1 : 0);
    const wide divisor = static_cast<wide>(1) << n;
    return of_bits(value_ >= 0 ? value_ / divisor : -((divisor - 1 - value_) / divisor));
  }
  Word<W + (S ? 0 : 1), true> operator~() const { return Word<W + (S ? 0 : 1), true>::of_bits(-1 - value_); }
  Word<W + 1, true> operator-() const { return Word<W + 1, true>::of_bits(-value_); }

 private:
  wide value_ = 0;

  static wide low_bits(wide x) {
    const wide modulus = static_cast<wide>(1) << W;
    wide low = x % modulus;
    if (low < 0) low += modulus;
    return S && low >= modulus / 2 ? low - modulus : low;
  }
  static wide kept(wide x) {
    const wide low = low_bits(x);
    if (low != x) ++losses.count;
    return low;
  }
  static Word assigned(wide x) {
    Word word;
    word.value_ = kept(x);
    return word;
  }
};

/** Width and sign of an operand: of a word itself, of a built-in integer its own. */
template <typename T>
struct Traits {
  static_assert(std::is_integral_v<T>, "operands are integers");
  static constexpr int bits = static_cast<int>(8 * sizeof(T));
  static constexpr bool is_signed = std::is_signed_v<T>;
  static wide value(T x) { return static_cast<wide>(x); }
};
template <int W, bool S>
struct Traits<Word<W, S>> {
  static constexpr int bits = W;
  static constexpr bool is_signed = S;
  static wide value(const Word<W, S>& x) { return x.value(); }
};

template <typename T>
struct IsWord : std::false_type {};
template <int W, bool S>
struct IsWord<Word<W, S>> : std::true_type {};
template <typename A, typename B>
using IfWord = std::enable_if_t<IsWord<A>::value || IsWord<B>::value, int>;

template <typename A, typename B>
constexpr bool either_signed = Traits<A>::is_signed || Traits<B>::is_signed;
/** Bits that hold both operands. */
template <typename A, typename B>
constexpr int both = larger(Traits<A>::bits + (either_signed<A, B> && !Traits<A>::is_signed ? 1 : 0),
                            Traits<B>::bits + (either_signed<A, B> && !Traits<B>::is_signed ? 1 : 0));

template <typename A, typename B, IfWord<A, B> = 0>
auto operator+(const A& a, const B& b) {
  return Word<both<A, B> + 1, either_signed<A, B>>::of_bits(Traits<A>::value(a) + Traits<B>::value(b));
}
template <typename A, typename B, IfWord<A, B> = 0>
auto operator-(const A& a, const B& b) {
  return Word<both<A, B> + 1, true>::of_bits(Traits<A>::value(a) - Traits<B>::value(b));
}
template <typename A, typename B, IfWord<A, B> = 0>
auto operator*(const A& a, const B& b) {
  return Word<Traits<A>::bits + Traits<B>::bits, either_signed<A, B>>::of_bits(Traits<A>::value(a) *
                                                                              Traits<B>::value(b));
}
template <typename A, typename B, IfWord<A, B> = 0>
auto operator/(const A& a, const B& b) {
  return Word<Traits<A>::bits + (Traits<B>::is_signed ? 1 : 0), either_signed<A, B>>::of_bits(Traits<A>::value(a) /
                                                                                             Traits<B>::value(b));
}
template <typename A, typename B, IfWord<A, B> = 0>
auto operator&(const A& a, const B& b) {
  return Word<both<A, B>, either_signed<A, B>>::of_bits(Traits<A>::value(a) & Traits<B>::value(b));
}

#define AP_STAND_IN_COMPARE(op)                         \
  template <typename A, typename B, IfWord<A, B> = 0>   \
  bool operator op(const A& a, const B& b) {            \
    return Traits<A>::value(a) op Traits<B>::value(b);  \
  }
AP_STAND_IN_COMPARE(==)
AP_STAND_IN_COMPARE(!=)
AP_STAND_IN_COMPARE(<)
AP_STAND_IN_COMPARE(<=)
AP_STAND_IN_COMPARE(>)
AP_STAND_IN_COMPARE(>=)
#undef AP_STAND_IN_COMPARE

}  // namespace ap_stand_in

template <int W>
using ap_int = ap_stand_in::Word<W, true>;
template <int W>
using ap_uint = ap_stand_in::Word<W, false>;
