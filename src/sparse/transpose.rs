//! Between rows of tokens, as the backends keep them, and panels.

use std::mem::MaybeUninit;

use super::vector::Instructions;

/// Side of the squares that are turned in registers.
const SIDE: usize = 8;

/// The tokens of `rows`, of so many features, as one panel of `width`; places that are left over are
/// zero.
///
/// # Shapes
/// - `rows`: `[tokens, features]`, at most `width` tokens
/// - `panel`: `[features, width]`
pub fn to_panel(
    instructions: Instructions,
    rows: &[f32],
    features: usize,
    panel: &mut [f32],
    width: usize,
) {
    let tokens = rows.len() / features.max(1);
    assert!(tokens <= width && panel.len() == features * width, "shapes do not fit");
    // SAFETY: only numbers are written there.
    let to = unsafe { &mut *(std::ptr::from_mut(&mut *panel) as *mut [MaybeUninit<f32>]) };
    Turn { from: rows, steps: features, to, width, lines: tokens }.run(instructions);
    if tokens < width {
        for row in panel.chunks_exact_mut(width) {
            row[tokens..].fill(0.0);
        }
    }
}

/// The tokens of a panel, row by row; all of `rows` is written.
///
/// # Shapes
/// - `panel`: `[features, width]`
/// - `rows`: `[tokens, features]`, at most `width` tokens
pub fn from_panel(
    instructions: Instructions,
    panel: &[f32],
    width: usize,
    rows: &mut [MaybeUninit<f32>],
    features: usize,
) {
    let tokens = rows.len() / features.max(1);
    assert!(tokens <= width && panel.len() == features * width, "shapes do not fit");
    Turn { from: panel, steps: width, to: rows, width: features, lines: features }
        .run(instructions);
}

/// Turns lines of `from`, `steps` apart, into columns of `to`, whose rows are `width` apart: as many
/// rows as fill `to`, or as a line of `from` has.
struct Turn<'a> {
    from: &'a [f32],
    steps: usize,
    to: &'a mut [MaybeUninit<f32>],
    width: usize,
    lines: usize,
}

impl Turn<'_> {
    fn run(self, instructions: Instructions) {
        match instructions {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 | Instructions::Avx512 if is_x86_feature_detected!("avx") => {
                // SAFETY: the processor has AVX.
                unsafe { self.with_avx() }
            }
            _ => self.with(square),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx")]
    fn with_avx(self) {
        // SAFETY: `with` calls it with whole squares only.
        self.with(|from, steps, to, width| unsafe { square_avx(from, steps, to, width) });
    }

    #[inline(always)]
    fn with(self, square: impl Fn(&[f32], usize, &mut [MaybeUninit<f32>], usize)) {
        let Self { from, steps, to, width, lines } = self;
        if width == 0 || steps == 0 {
            return;
        }
        let columns = (to.len() / width).min(steps);
        for line in (0..lines).step_by(SIDE) {
            for column in (0..columns).step_by(SIDE) {
                let (first, last) = (line * steps + column, column * width + line);
                if line + SIDE <= lines && column + SIDE <= columns {
                    let reach = |steps: usize| (SIDE - 1) * steps + SIDE;
                    let from = &from[first..first + reach(steps)];
                    square(from, steps, &mut to[last..last + reach(width)], width);
                    continue;
                }
                for column in column..columns.min(column + SIDE) {
                    for line in line..lines.min(line + SIDE) {
                        to[column * width + line].write(from[line * steps + column]);
                    }
                }
            }
        }
    }
}

/// Turns a square of [`SIDE`]. Both slices reach to its end.
fn square(from: &[f32], steps: usize, to: &mut [MaybeUninit<f32>], width: usize) {
    for n in 0..SIDE {
        for line in 0..SIDE {
            to[n * width + line].write(from[line * steps + n]);
        }
    }
}

/// As [`square`], in registers.
///
/// # Safety
/// Both slices reach to the end of the square.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
#[inline]
unsafe fn square_avx(from: &[f32], steps: usize, to: &mut [MaybeUninit<f32>], width: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the lines lie within the slices, which reach to the end of the last.
    unsafe {
        let line = |n: usize| _mm256_loadu_ps(from.as_ptr().add(n * steps));
        let (a, b, c, d) = (line(0), line(1), line(2), line(3));
        let (e, f, g, h) = (line(4), line(5), line(6), line(7));
        // Pairs of lines, then fours, within each half of a register.
        let pairs = [
            [_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)],
            [_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)],
            [_mm256_unpacklo_ps(e, f), _mm256_unpackhi_ps(e, f)],
            [_mm256_unpacklo_ps(g, h), _mm256_unpackhi_ps(g, h)],
        ];
        let fours = |one: [__m256; 2], other: [__m256; 2]| {
            [
                _mm256_shuffle_ps::<0b01_00_01_00>(one[0], other[0]),
                _mm256_shuffle_ps::<0b11_10_11_10>(one[0], other[0]),
                _mm256_shuffle_ps::<0b01_00_01_00>(one[1], other[1]),
                _mm256_shuffle_ps::<0b11_10_11_10>(one[1], other[1]),
            ]
        };
        let (upper, lower) = (fours(pairs[0], pairs[1]), fours(pairs[2], pairs[3]));
        for (n, (upper, lower)) in upper.into_iter().zip(lower).enumerate() {
            let (one, other) = (n * width, (n + 4) * width);
            let to = to.as_mut_ptr().cast::<f32>();
            _mm256_storeu_ps(to.add(one), _mm256_permute2f128_ps::<0x20>(upper, lower));
            _mm256_storeu_ps(to.add(other), _mm256_permute2f128_ps::<0x31>(upper, lower));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_panels_and_panels_rows() {
        for instructions in Instructions::available() {
            for (tokens, features, width) in [
                (1, 1, 8),
                (32, 384, 32),
                (17, 9, 24),
                (8, 8, 8),
                (0, 5, 8),
                (5, 0, 8),
                (31, 70, 32),
            ] {
                let rows: Vec<f32> = (0..tokens * features).map(|n| n as f32 + 1.0).collect();
                let mut panel = vec![f32::NAN; features * width];
                to_panel(instructions, &rows, features, &mut panel, width);
                for feature in 0..features {
                    for lane in 0..width {
                        let expected =
                            if lane < tokens { rows[lane * features + feature] } else { 0.0 };
                        assert_eq!(panel[feature * width + lane], expected);
                    }
                }
                let mut back = vec![MaybeUninit::new(f32::NAN); rows.len()];
                from_panel(instructions, &panel, width, &mut back, features);
                // SAFETY: it was filled from the beginning.
                let back: Vec<f32> = back.iter().map(|v| unsafe { v.assume_init() }).collect();
                assert_eq!(back, rows);
            }
        }
    }
}
