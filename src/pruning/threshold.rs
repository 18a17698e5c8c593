//! How many weights go: the rank of the global threshold among all scores.

/// How many of `n` scores the remaining ratio puts at or below the threshold: k = floor(n (1 - r)).
pub fn rank(n: usize, ratio: f64) -> usize {
    (n as f64 * (1.0 - ratio)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_is_rounded_down() {
        assert_eq!(rank(10, 1.0), 0);
        assert_eq!(rank(10, 0.25), 7);
        assert_eq!(rank(10_646_784, 0.2), 8_517_427);
    }
}
