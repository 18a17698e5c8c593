//! The activations of feed-forward layers and heads, as `config.json` names them. All give 0 for 0.

use serde::{Deserialize, Serialize};

/// A function of single values between two dense layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Activation {
    /// x Φ(x), exactly (Hendrycks and Gimpel, 2016).
    #[default]
    #[serde(rename = "gelu")]
    Gelu,
    /// Its approximation x (1 + tanh(sqrt(2/π) (x + 0.044715 x³))) / 2.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// max(x, 0)
    #[serde(rename = "relu")]
    Relu,
    /// x / (1 + e^-x)
    #[serde(rename = "silu", alias = "swish")]
    Silu,
    /// The hyperbolic tangent.
    #[serde(rename = "tanh")]
    Tanh,
}

impl Activation {
    /// Their names at Hugging Face; some have two.
    pub const NAMES: [(&str, Self); 7] = [
        ("gelu", Self::Gelu),
        ("gelu_new", Self::GeluTanh),
        ("gelu_pytorch_tanh", Self::GeluTanh),
        ("relu", Self::Relu),
        ("silu", Self::Silu),
        ("swish", Self::Silu),
        ("tanh", Self::Tanh),
    ];

    /// The activation that Hugging Face calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, activation)| *activation)
    }

    /// Its first name there.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

/// The constants of [`Activation::GeluTanh`]: sqrt(2/π), and the factor of x³.
pub const GELU_TANH: (f32, f32) = (0.797_884_6, 0.044_715);

/// What both kernels compute e^x with, for x from -87 to 88: ln 2 in two parts, the first exact in few
/// bits, so that a whole number of it has no rounding error, and Cephes' `expf`: the polynomial p, the
/// highest power first, of e^r = 1 + r + r² p(r) for r up to (ln 2) / 2 from 0.
pub const EXP: ((f32, f32), [f32; 6]) = (
    (0.693_359_4, -2.121_944_4e-4),
    [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1],
);

/// Adding and taking away 1.5 * 2^23 rounds an f32 to the nearest integer, which the sum has in its
/// lowest bits.
pub const ROUND: f32 = 12_582_912.0;

/// What both compute the error function with: erf(x) = x P(x²) / Q(x²), the highest powers first, by the
/// minimax coefficients that Eigen and XLA use, for x from -4 to 4, beyond which erf is ±1 in f32.
pub const ERF: ([f32; 7], [f32; 5]) = (
    [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ],
    [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2],
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activation_has_the_name_that_files_give_it() {
        for (name, activation) in Activation::NAMES {
            assert_eq!(Activation::named(name), Some(activation));
            let text = format!("{name:?}");
            assert_eq!(serde_json::from_str::<Activation>(&text).unwrap(), activation);
            assert_eq!(Activation::named(activation.name()), Some(activation));
            let written = serde_json::to_string(&activation).unwrap();
            assert_eq!(written, format!("{:?}", activation.name()));
        }
        assert_eq!(Activation::named("gelu_10"), None);
    }
}
