// A stand-in for the vendor's ap_fixed.h: the bits of fixed-point values, which is all that generated code touches.
#pragma once

#include "ap_int.h"

enum ap_q_mode { AP_RND, AP_RND_ZERO, AP_RND_MIN_INF, AP_RND_INF, AP_RND_CONV, AP_TRN, AP_TRN_ZERO };
enum ap_o_mode { AP_SAT, AP_SAT_ZERO, AP_SAT_SYM, AP_WRAP, AP_WRAP_SM };

namespace ap_stand_in {

template <int W, bool S>
class Fixed {
  /** The bits, to read into a word as they are. */
  class Bits {
   public:
    explicit Bits(const Word<W, S>& word) : value_(word.value()) {}
    template <int W2, bool S2>
    operator Word<W2, S2>() const { return Word<W2, S2>::of_bits(value_); }

   private:
    wide value_;
  };

  /** The bits, to read or to write. */
  class Range : public Bits {
   public:
    explicit Range(Word<W, S>& word) : Bits(word), word_(word) {}
    template <int W2, bool S2>
    Range& operator=(const Word<W2, S2>& x) {
      word_ = Word<W, S>::of_bits(x.value());
      return *this;
    }

   private:
    Word<W, S>& word_;
  };

 public:
  Range range() { return Range(word_); }
  Bits range() const { return Bits(word_); }

 private:
  Word<W, S> word_;
};

}  // namespace ap_stand_in

template <int W, int I, ap_q_mode Q, ap_o_mode O>
using ap_fixed = ap_stand_in::Fixed<W, true>;
template <int W, int I, ap_q_mode Q, ap_o_mode O>
using ap_ufixed = ap_stand_in::Fixed<W, false>;
