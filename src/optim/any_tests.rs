use burn::tensor::TensorData;
use burn_ndarray::NdArray;

use super::*;

type B = NdArray<f32>;

fn optimizer(name: OptimizerName) -> AnyOptimizer<B> {
    OptimizerConfig { name, epsilon: 1e-6, weight_decay: 0.01, momentum: 0.9 }.init()
}

fn gradient<const D: usize>(shape: [usize; D], step: u32) -> Tensor<B, D> {
    let n: usize = shape.iter().product();
    let values = (1..=n).map(|place| (f64::from(step) * place as f64).sin() as f32).collect();
    Tensor::from_data(TensorData::new::<f32, _>(values, shape), &Default::default())
}

/// What eight updates make of a matrix and a vector; after four the state goes through a record.
fn eight_updates(name: OptimizerName) -> Vec<f32> {
    let device = Default::default();
    let optimizer = optimizer(name);
    let mut matrix = Tensor::<B, 2>::from_floats([[1.0, -2.0], [0.5, 3.0]], &device);
    let mut vector = Tensor::<B, 1>::from_floats([2.0, -1.0], &device);
    let (mut of_matrix, mut of_vector) = (None, None);
    for step in 1..=8 {
        (matrix, of_matrix) = optimizer.step(0.1, matrix, gradient([2, 2], step), of_matrix);
        (vector, of_vector) = optimizer.step(0.1, vector, gradient([2], step), of_vector);
        if step == 4 {
            use burn::record::FullPrecisionSettings as Full;
            let item = of_matrix.map(|state| state.into_item::<Full>());
            of_matrix = item.map(|item| AnyState::<B, 2>::from_item::<Full>(item, &device));
        }
    }
    [matrix.reshape([4]), vector].map(|t| t.into_data().iter::<f32>().collect::<Vec<_>>()).concat()
}

#[test]
fn eight_updates_match_pytorch() {
    // tests/fixtures/optimizers.py printed these.
    for (name, expected) in [
        (OptimizerName::Adam, [0.6774687, -2.1192441, 0.41008, 3.0821977, 1.6828443, -1.1384237]),
        (OptimizerName::AdamW, [0.6766459, -2.121691, 0.4141352, 3.0856812, 1.6828443, -1.1384237]),
        (OptimizerName::RAdam, [0.7470028, -2.096684, 0.4791843, 3.0490594, 1.7535, -1.1133437]),
        (OptimizerName::Sgd, [0.4506961, -2.1643908, 0.4895206, 3.0213764, 1.471899, -1.2242028]),
    ] {
        for (found, expected) in eight_updates(name).into_iter().zip(expected) {
            assert!((f64::from(found) - expected).abs() < 3e-6, "{name:?}: {found} {expected}");
        }
    }
}

#[test]
fn adamax_is_the_one_that_shares_its_pass_with_the_scores() {
    let plain = AdamaxConfig::new().with_epsilon(1e-6).with_weight_decay(0.01).init();
    let device = Default::default();
    let weight = Tensor::<B, 1>::from_floats([2.0, -1.0], &device);
    let (expected, _) = SimpleOptimizer::step(&plain, 0.1, weight.clone(), gradient([2], 1), None);
    let chosen = optimizer(OptimizerName::Adamax);
    let (found, state) = chosen.step(0.1, weight, gradient([2], 1), None);
    assert_eq!(found.into_data(), expected.into_data());
    assert!(matches!(state, Some(AnyState::Adamax(_))));
}

#[test]
fn names_are_those_of_the_original() {
    for name in ["adamax", "adam", "adamw", "radam", "sgd"] {
        let parsed: OptimizerName = serde_json::from_value(name.into()).unwrap();
        assert_eq!(serde_json::to_value(parsed).unwrap(), name);
    }
}
