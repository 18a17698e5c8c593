use super::*;

fn plan(evaluate_every: usize, stop_after: Option<usize>) -> Plan {
    Plan::new(10, 4, 2, 7, evaluate_every, stop_after)
}

#[test]
fn chunks_end_at_evaluations_and_epochs() {
    assert_eq!(plan(0, None).chunks(), [0..3, 3..6]);
    assert_eq!(plan(2, None).chunks(), [0..2, 2..3, 3..4, 4..6]);
    assert_eq!(plan(2, Some(4)).chunks(), [0..2, 2..3, 3..4]);
    assert!(plan(0, Some(0)).chunks().is_empty());
    assert_eq!((plan(2, Some(4)).updates(), plan(2, Some(4)).last_update()), (6, 4));
}

#[test]
fn every_epoch_has_its_own_order_that_the_seed_repeats() {
    let plan = plan(0, None);
    assert_eq!(plan.order(0), plan.order(0));
    assert_ne!(plan.order(0), plan.order(1));
    let other = Plan { seed: 8, ..plan.clone() };
    assert_ne!(plan.order(0), other.order(0));
    let mut sorted = plan.order(1);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..10).collect::<Vec<_>>());
}

#[cfg(feature = "ndarray")]
mod loaders {
    use super::*;
    type B = burn_ndarray::NdArray<f32>;

    fn sample(n: u32) -> Sample {
        let tokens = 1 + n as usize % 3;
        Sample {
            uid: n.to_string(),
            label: Label::Class(n as usize),
            token_id: vec![100 + n; tokens],
            type_id: vec![1; tokens],
            attention_mask: vec![1; tokens],
        }
    }

    fn loader() -> TrainLoader<B> {
        let samples = (0..10).map(sample).collect();
        let plan = Arc::new(plan(0, None));
        let samples = Arc::new(InMemDataset::new(samples));
        TrainLoader::new(samples, plan, Filling::Packed, Default::default())
    }

    fn labels(batch: &Batch<B>) -> Vec<Label> {
        batch.labels.clone()
    }

    #[test]
    fn each_call_hands_out_the_next_chunk_with_numbered_updates() {
        let loader = loader();
        let first: Vec<_> = loader.iter().collect();
        let second: Vec<_> = loader.iter().collect();
        let updates = |b: &[Batch<B>]| b.iter().map(|b| (b.epoch, b.update)).collect::<Vec<_>>();
        assert_eq!(updates(&first), [(1, 1), (1, 2), (1, 3)]);
        assert_eq!(updates(&second), [(2, 4), (2, 5), (2, 6)]);
        assert_eq!(first.iter().map(|b| b.labels.len()).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!(loader.iter().count(), 0, "the plan is over");
    }

    #[test]
    fn slices_divide_every_batch() {
        let whole: Vec<_> = loader().iter().flat_map(|b| labels(&b)).collect();
        let loader = loader();
        let (a, b) = (loader.slice(0, 5), loader.slice(5, 10));
        let divided: Vec<_> =
            a.iter().zip(b.iter()).flat_map(|(a, b)| [labels(&a), labels(&b)].concat()).collect();
        assert_eq!(whole, divided);
    }

    #[test]
    fn samples_are_packed_or_padded_without_what_their_masks_hide() {
        let mut hidden = sample(2);
        hidden.attention_mask[1] = 0;
        let samples = [sample(0), hidden];
        let batch = |filling| Batch::<B>::new(samples.iter(), filling, &Default::default());
        let ints = |t: &Tensor<B, 1, Int>| t.to_data().iter::<i64>().collect::<Vec<_>>();
        let packed = batch(Filling::Packed);
        assert_eq!(ints(&packed.token_ids), [100, 102, 102]);
        assert_eq!(ints(&packed.position_ids), [0, 0, 2]);
        assert_eq!(ints(&packed.type_ids), [1, 1, 1]);
        assert_eq!((packed.lengths, packed.padded_to), (vec![1, 2], None));
        let padded = batch(Filling::Padded);
        assert_eq!(ints(&padded.token_ids), [100, 0, 102, 102]);
        assert_eq!(ints(&padded.position_ids), [0, 0, 0, 2]);
        assert_eq!(ints(&padded.type_ids), [1, 0, 1, 1]);
        assert_eq!((padded.lengths, padded.padded_to), (vec![1, 2], Some(2)));
    }

    #[test]
    fn evaluation_goes_through_every_set_once_by_length() {
        let sets = vec![(0..4).map(sample).collect(), (4..7).map(sample).collect()];
        let loader = EvalLoader::<B>::new(sets, 3, Filling::Padded, Default::default());
        let seen: Vec<_> = loader.iter().map(|b| (b.data_set, b.labels.len())).collect();
        assert_eq!(seen, [(0, 3), (0, 1), (1, 3)]);
        assert_eq!(loader.num_items(), 7);
        let lengths: Vec<_> = loader.iter().map(|b| b.padded_to.unwrap()).collect();
        assert_eq!(lengths, [2, 3, 3]);
    }
}
