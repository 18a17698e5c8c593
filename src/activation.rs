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
