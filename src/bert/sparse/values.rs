//! The numbers of a tensor as bytes: as they are, or with their exponents compressed.

use half::{bf16, f16};
use zlib_rs::{
    DeflateConfig, Inflate, InflateFlush, ReturnCode, Status, Strategy, compress_bound,
    compress_slice,
};

use crate::bert::container::ElementType;

/// The bits of a zlib stream's window: the largest, which any reader must expect.
const WINDOW_BITS: u8 = 15;

/// The type of all numbers of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dtype {
    /// 32-bit floats: every weight bit for bit.
    #[default]
    F32,
    /// 16-bit floats of 11 bits precision, up to 65504.
    F16,
    /// 16-bit floats of 8 bits precision and the range of [`F32`](Self::F32).
    Bf16,
}

impl Dtype {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// The name in a safetensors header.
    pub const fn name(self) -> &'static str {
        self.element_type().name()
    }

    pub(super) const fn element_type(self) -> ElementType {
        match self {
            Self::F32 => ElementType::F32,
            Self::F16 => ElementType::F16,
            Self::Bf16 => ElementType::Bf16,
        }
    }

    /// The bytes of a number.
    pub(super) const fn width(self) -> usize {
        self.element_type().width()
    }

    /// The largest finite number.
    pub(super) fn largest(self) -> f32 {
        match self {
            Self::F32 => f32::MAX,
            Self::F16 => f16::MAX.to_f32(),
            Self::Bf16 => bf16::MAX.to_f32(),
        }
    }

    /// The bits of the number nearest to `value`, of two the even one; `None` where that would be
    /// infinite and `value` is not. In 16 bits a zero has no sign.
    pub(super) fn round(self, value: f32) -> Option<u32> {
        let (bits, is_finite) = match self {
            Self::F32 => return Some(value.to_bits()),
            Self::F16 => {
                let near = f16::from_f32(value);
                (near.to_bits(), near.is_finite())
            }
            Self::Bf16 => {
                let near = bf16::from_f32(value);
                (near.to_bits(), near.is_finite())
            }
        };
        if value.is_finite() && !is_finite {
            return None;
        }
        Some(if bits << 1 == 0 { 0 } else { bits.into() })
    }

    /// The number of these bits, which f32 has as well.
    fn widen(self, bits: u32) -> f32 {
        match self {
            Self::F32 => f32::from_bits(bits),
            Self::F16 => f16::from_bits(bits as u16).to_f32(),
            Self::Bf16 => bf16::from_bits(bits as u16).to_f32(),
        }
    }

    /// The bits with the sign last, so that the first byte holds nothing but exponent (and, in
    /// [`F16`](Self::F16), three bits more).
    fn sign_last(self, bits: u32) -> u32 {
        match self {
            Self::F32 => bits.rotate_left(1),
            Self::F16 | Self::Bf16 => (bits as u16).rotate_left(1).into(),
        }
    }

    fn sign_first(self, bits: u32) -> u32 {
        match self {
            Self::F32 => bits.rotate_right(1),
            Self::F16 | Self::Bf16 => (bits as u16).rotate_right(1).into(),
        }
    }
}

/// The numbers of a tensor in a file that is read.
pub(super) struct Values<'a> {
    dtype: Dtype,
    /// The high byte of each number, where they are stored apart.
    high: Option<Vec<u8>>,
    /// The other bytes of each number, or all of them.
    low: &'a [u8],
}

impl<'a> Values<'a> {
    /// The numbers in `bytes`, which hold a whole number of them.
    pub(super) const fn plain(dtype: Dtype, bytes: &'a [u8]) -> Self {
        Self { dtype, high: None, low: bytes }
    }

    /// The numbers whose high bytes are compressed in `high`, and whose others are `low`: `count`
    /// times one less than a number has. `None` where `high` is no zlib stream of `count` bytes.
    /// Takes `count` bytes of memory, which is no more than `low` has.
    pub(super) fn split(dtype: Dtype, high: &[u8], low: &'a [u8]) -> Option<Self> {
        let mut bytes = vec![0; low.len() / (dtype.width() - 1)];
        let mut inflate = Inflate::new(true, WINDOW_BITS);
        let status = inflate.decompress(high, &mut bytes, InflateFlush::Finish).ok()?;
        let (read, made) = (inflate.total_in() as usize, inflate.total_out() as usize);
        let is_whole = status == Status::StreamEnd && read == high.len() && made == bytes.len();
        is_whole.then_some(Self { dtype, high: Some(bytes), low })
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.low.len() / self.low_width()
    }

    /// The numbers, widened to f32.
    pub(super) fn iter(&self) -> impl Iterator<Item = f32> + '_ {
        let (dtype, width) = (self.dtype, self.low_width());
        let mut high = self.high.iter().flatten();
        self.low.chunks_exact(width).map(move |low| {
            let bits = low.iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
            dtype.widen(match high.next() {
                Some(high) => dtype.sign_first(u32::from(*high) << (8 * width) | bits),
                None => bits,
            })
        })
    }

    const fn low_width(&self) -> usize {
        self.dtype.width() - self.high.is_some() as usize
    }
}

/// Numbers to write, as [`Values`] reads them.
pub(super) enum Bytes {
    /// One number after another.
    Plain(Vec<u8>),
    /// The high bytes compressed, the others one number after another.
    Split { high: Vec<u8>, low: Vec<u8> },
}

impl Bytes {
    /// The bytes of numbers of these bits. The high bytes are stored apart where that saves more
    /// than `cost` bytes.
    pub(super) fn of(dtype: Dtype, bits: impl Iterator<Item = u32> + Clone, cost: usize) -> Self {
        let low_bytes = dtype.width() - 1;
        let high = bits.clone().map(|bits| (dtype.sign_last(bits) >> (8 * low_bytes)) as u8);
        let high: Vec<u8> = high.collect();
        match deflate(&high).filter(|packed| packed.len() + cost < high.len()) {
            Some(packed) => {
                let sign_last = bits.map(|bits| dtype.sign_last(bits));
                Self::Split { high: packed, low: little_endian(sign_last, low_bytes) }
            }
            None => Self::Plain(little_endian(bits, dtype.width())),
        }
    }

    /// The bytes that they take.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Split { high, low } => high.len() + low.len(),
        }
    }
}

/// A zlib stream. Exponents repeat, but not in any order: Huffman codes are all that pays.
fn deflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let config = DeflateConfig { strategy: Strategy::HuffmanOnly, ..DeflateConfig::default() };
    let mut room = vec![0; compress_bound(bytes.len())];
    let (packed, code) = compress_slice(&mut room, bytes, config);
    (code == ReturnCode::Ok).then(|| packed.to_vec())
}

/// The `width` low bytes of each number, the lowest first.
fn little_endian(bits: impl Iterator<Item = u32>, width: usize) -> Vec<u8> {
    bits.flat_map(|bits| bits.to_le_bytes().into_iter().take(width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dtype: Dtype, bytes: &Bytes) -> Vec<u32> {
        let values = match bytes {
            Bytes::Plain(bytes) => Values::plain(dtype, bytes),
            Bytes::Split { high, low } => Values::split(dtype, high, low).unwrap(),
        };
        assert_eq!(values.iter().count(), values.len());
        values.iter().map(f32::to_bits).collect()
    }

    #[test]
    fn rounding_is_to_the_nearest_and_of_two_to_the_even_one() {
        let f16 = |value| Dtype::F16.round(value);
        assert_eq!(f16(1.0), Some(0x3c00));
        assert_eq!(f16(1.0 + 2_f32.powi(-11)), Some(0x3c00), "a tie: the even one is below");
        assert_eq!(f16(1.0 + 3.0 * 2_f32.powi(-11)), Some(0x3c02), "a tie: the even one is above");
        assert_eq!(f16(65519.0), Some(0x7bff));
        assert_eq!(f16(65520.0), None);
        assert_eq!(f16(-1e30), None);
        assert_eq!(f16(f32::NEG_INFINITY), Some(0xfc00));
        assert_eq!(f16(2_f32.powi(-24)), Some(1));
        assert_eq!([f16(2_f32.powi(-25)), f16(-1e-30), f16(-0.0)], [Some(0); 3]);
        let bf16 = |value| Dtype::Bf16.round(value);
        assert_eq!(bf16(1.0 + 2_f32.powi(-8)), Some(0x3f80));
        assert_eq!(bf16(1.0 + 3.0 * 2_f32.powi(-8)), Some(0x3f82));
        assert_eq!(bf16(f32::MAX), None);
        assert_eq!([bf16(1e-42), bf16(-1e-42), bf16(-0.0)], [Some(0); 3]);
        assert_eq!(Dtype::F32.round(-0.0), Some(1 << 31));
    }

    #[test]
    fn numbers_come_back_with_their_high_bytes_apart_and_without() {
        let values: Vec<f32> = (1..500).map(|n| (n as f32 * 0.7).sin() / n as f32).collect();
        for dtype in Dtype::ALL {
            let bits: Vec<u32> = values.iter().map(|value| dtype.round(*value).unwrap()).collect();
            let wide: Vec<u32> = bits.iter().map(|bits| dtype.widen(*bits).to_bits()).collect();
            for (cost, is_split) in [(0, true), (1000, false)] {
                let bytes = Bytes::of(dtype, bits.iter().copied(), cost);
                assert_eq!(matches!(bytes, Bytes::Split { .. }), is_split, "{dtype:?}");
                assert_eq!(bytes.len() < bits.len() * dtype.width(), is_split);
                assert_eq!(read(dtype, &bytes), wide);
            }
        }
        assert!(read(Dtype::F16, &Bytes::of(Dtype::F16, [].into_iter(), 0)).is_empty());
    }

    #[test]
    fn the_high_byte_is_the_exponent() {
        let bits = [-1.5_f32, 0.375].map(f32::to_bits);
        let low = little_endian(bits.into_iter().map(|bits| Dtype::F32.sign_last(bits)), 3);
        assert_eq!(low, [1, 0, 0x80, 0, 0, 0x80]);
        let high = deflate(&[127, 125]).unwrap();
        assert_eq!(read(Dtype::F32, &Bytes::Split { high, low }), bits);
    }

    #[test]
    fn a_stream_of_another_length_is_refused() {
        let low = [0; 30];
        let read = |bytes: &[u8]| Values::split(Dtype::F32, bytes, &low).map(|values| values.len());
        let right = deflate(&[7; 10]).unwrap();
        assert_eq!(read(&right), Some(10));
        for length in [0, 9, 11, 100_000] {
            assert_eq!(read(&deflate(&vec![7; length]).unwrap()), None, "{length}");
        }
        assert_eq!(read(&[&right[..], &[0]].concat()), None, "a byte after the end");
        for cut in 0..right.len() {
            assert_eq!(read(&right[..cut]), None, "{cut}");
        }
        for place in 0..right.len() {
            let mut damaged = right.clone();
            damaged[place] ^= 0x10;
            // The bits that fill up the last byte of codes mean nothing.
            let read = Values::split(Dtype::F32, &damaged, &low).and_then(|values| values.high);
            assert!(read.is_none_or(|high| high == [7; 10]), "{place}");
        }
        assert!(Values::split(Dtype::F16, &deflate(&[]).unwrap(), &[]).is_some());
    }
}
