//! Elementary functions that give the same bits on every machine.
//!
//! Owns double-precision exponential, logarithm, sine and cosine made only of
//! IEEE additions, multiplications and divisions, for tables and sampling.
//! libm's versions differ between C libraries, and a receipt that is checked
//! by replay must not depend on one. Refuses nothing: arguments outside the
//! stated ranges give the nearest end of the range.

const LN_2_HI: f64 = 6.931_471_803_691_238e-1;
const LN_2_LO: f64 = 1.908_214_929_270_587_7e-10;
/// Adding and subtracting this rounds to the nearest integer, ties to even, below 2^51.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// e^x for x in -700..700; relative error below 1e-15.
pub(crate) fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HI) - n * LN_2_LO;
    let mut sum = 1.0;
    for k in (1..=15u32).rev() {
        sum = 1.0 + sum * r / f64::from(k);
    }
    // The low bits of `shifted` hold n in two's complement; the shift drops the rest.
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    sum * power
}

/// Natural logarithm of a positive normal number; relative error below 1e-15.
pub(crate) fn ln(x: f64) -> f64 {
    let bits = x.max(f64::MIN_POSITIVE).to_bits();
    let mut exponent = i32::try_from((bits >> 52) & 0x7ff).expect("eleven bits fit") - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for k in (0..=12u32).rev() {
        sum = sum * square + 1.0 / f64::from(2 * k + 1);
    }
    let e = f64::from(exponent);
    e * LN_2_HI + (2.0 * s * sum + e * LN_2_LO)
}

/// Sine and cosine of x in radians, for |x| up to a million; absolute error below 1e-14.
pub(crate) fn sin_cos(x: f64) -> (f64, f64) {
    // pi/2 in three parts of 33 bits, so that the first two products are exact.
    const PART_1: f64 = 1.570_796_326_734_125_6;
    const PART_2: f64 = 6.077_100_506_303_966e-11;
    const PART_3: f64 = 2.022_266_248_795_950_7e-21;
    let x = x.clamp(-1e6, 1e6);
    let shifted = x * std::f64::consts::FRAC_2_PI + ROUND;
    let n = shifted - ROUND;
    let r = ((x - n * PART_1) - n * PART_2) - n * PART_3;
    let square = r * r;
    let mut sin = 1.0;
    let mut cos = 1.0;
    for k in (1..=10u32).rev() {
        let even = f64::from(2 * k);
        sin = 1.0 - sin * square / (even * (even + 1.0));
        cos = 1.0 - cos * square / (even * (even - 1.0));
    }
    let sin = sin * r;
    match shifted.to_bits() & 3 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// The nearest single-precision number.
#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the purpose")]
pub(crate) fn narrow(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_system_functions() {
        for step in -4000..4000 {
            let x = f64::from(step) * 0.1737;
            let scale = x.exp().max(f64::MIN_POSITIVE);
            if x.abs() < 690.0 {
                assert!(((exp(x) - x.exp()) / scale).abs() < 1e-14, "exp {x}");
            }
            let y = x.abs() * 37.0 + 1e-9;
            assert!((ln(y) - y.ln()).abs() <= 1e-14 * y.ln().abs().max(1.0), "ln {y}");
            let (sin, cos) = sin_cos(x * 47.0);
            assert!((sin - (x * 47.0).sin()).abs() < 1e-13, "sin {x}");
            assert!((cos - (x * 47.0).cos()).abs() < 1e-13, "cos {x}");
        }
    }
}
