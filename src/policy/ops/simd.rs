//! Arithmetic on rows of float32, written so that the compiler makes vector code of it.
//!
//! Owns the exponential and the order of sums. A sum runs in sixteen lanes, whatever the machine's registers hold, so
//! that results do not depend on the instruction set that was found at run time.

/// Lanes of a sum.
const LANES: usize = 16;

/// Runs `work` with the widest instructions that this machine has.
#[inline]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// e^x to about two units in the last place; 0 far below zero, never infinite.
///
/// The polynomial is that of the Cephes library (`expf`); the standard library's call can't be vectorised.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    let x = x.clamp(-87.3, 88.3);
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    y * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Sum of `f` over pairs of two equally long rows.
#[inline(always)]
pub fn sum2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (mut a_rows, mut b_rows) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut a_rows).zip(&mut b_rows) {
        for k in 0..LANES {
            lanes[k] += f(a[k], b[k]);
        }
    }
    let rest: f32 = a_rows.remainder().iter().zip(b_rows.remainder()).map(|(&a, &b)| f(a, b)).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Largest entry; -infinity for an empty row.
#[inline(always)]
pub fn max(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut rows = row.chunks_exact(LANES);
    for chunk in &mut rows {
        for k in 0..LANES {
            lanes[k] = if chunk[k] > lanes[k] { chunk[k] } else { lanes[k] };
        }
    }
    lanes.iter().chain(rows.remainder()).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Replaces each entry by e^(entry - shift) and returns their sum.
#[inline(always)]
pub fn exp_in_place(row: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let mut rows = row.chunks_exact_mut(LANES);
    for chunk in &mut rows {
        for k in 0..LANES {
            chunk[k] = exp(chunk[k] - shift);
            lanes[k] += chunk[k];
        }
    }
    let mut total: f32 = lanes.iter().sum();
    for x in rows.into_remainder() {
        *x = exp(*x - shift);
        total += *x;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_agrees_with_the_standard_library() {
        for k in -8600..8800 {
            let x = k as f32 / 100.0;
            let (ours, theirs) = (exp(x), x.exp());
            assert!((ours - theirs).abs() <= 3e-7 * theirs, "e^{x}: {ours}, expected {theirs}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn sums_and_maxima_cover_rows_of_any_length() {
        for n in [0, 1, 15, 16, 17, 100] {
            let row: Vec<f32> = (0..n).map(|k| k as f32).collect();
            assert_eq!(sum2(&row, &row, |a, b| a + b), (n * n) as f32 - n as f32);
            assert_eq!(max(&row), if n == 0 { f32::NEG_INFINITY } else { n as f32 - 1.0 });
        }
    }
}
