use super::*;

#[cfg(feature = "ndarray")]
mod loaders {
    use super::*;
    use crate::glue::tsv::Label;
    use crate::glue::updates::{UpdatesConfig, one_bin};

    type B = burn_ndarray::NdArray<f32>;

    fn sample(n: u32) -> Sample {
        let tokens = 1 + n as usize % 3;
        Sample {
            uid: n.to_string(),
            label: Label::Class(n as usize),
            token_id: vec![100 + n; tokens],
            type_id: vec![1; tokens],
            attention_mask: vec![1; tokens],
            softlabel: Vec::new(),
        }
    }

    fn loader() -> TrainLoader<B> {
        on_devices(1, 4, 1, 0)
    }

    fn on_devices(
        devices: usize,
        batch_size: usize,
        batches: usize,
        start: usize,
    ) -> TrainLoader<B> {
        let samples = (0..10).map(sample).collect();
        let config = UpdatesConfig { batches, epochs: 2, seed: 7, ..UpdatesConfig::default() };
        let updates = Arc::new(Updates::new(one_bin(10, batch_size), config));
        let samples = Arc::new(InMemDataset::new(samples));
        let devices = vec![Default::default(); devices];
        TrainLoader::new(samples, updates, Filling::Packed, None, start, devices)
    }

    fn sizes(batch: &UpdateBatch<B>) -> Vec<Vec<usize>> {
        let sizes = |share: &Vec<Batch<B>>| share.iter().map(|part| part.labels.len()).collect();
        batch.shares.iter().map(sizes).collect()
    }

    fn labels(batch: &UpdateBatch<B>) -> Vec<Label> {
        batch.shares.iter().flatten().flat_map(|part| part.labels.clone()).collect()
    }

    #[test]
    fn batches_of_an_update_hold_the_samples_in_order() {
        let all = |loader: TrainLoader<B>| -> Vec<_> {
            let chunks = loader.updates.chunks().len();
            (0..chunks).flat_map(|_| loader.iter().collect::<Vec<_>>()).collect()
        };
        let whole = all(on_devices(1, 2, 1, 0));
        // Five batches in an epoch: the third update is in both.
        let accumulated = all(on_devices(1, 2, 2, 0));
        assert_eq!((whole.len(), accumulated.len()), (10, 5));
        for (parts, update) in whole.chunks(2).zip(&accumulated) {
            assert_eq!(parts.iter().flat_map(labels).collect::<Vec<_>>(), labels(update));
            assert_eq!((sizes(update), update.divisor), (vec![vec![2, 2]], 4));
        }
    }

    #[test]
    fn several_devices_share_an_update_evenly() {
        let all = |devices, batches| -> Vec<_> {
            on_devices(devices, 4, batches, 0).iter().map(|update| sizes(&update)).collect()
        };
        let two = vec![vec![2], vec![2]];
        assert_eq!(all(2, 1), [two.clone(), two.clone(), vec![vec![1], vec![1]]]);
        assert_eq!(all(3, 1)[0], two, "the third has none");
        assert_eq!(all(2, 2)[0], [[2, 2], [2, 2]]);
        assert_eq!(all(4, 2)[0], [[1, 1], [1, 1], [1, 1], [1, 1]]);
        let whole: Vec<_> = loader().iter().map(|update| labels(&update)).collect();
        let divided = on_devices(3, 4, 1, 0);
        assert_eq!(divided.iter().map(|update| labels(&update)).collect::<Vec<_>>(), whole);
    }

    #[test]
    fn losses_are_divided_by_the_samples_or_by_what_was_asked_for() {
        let divisors = |loader: &TrainLoader<B>| -> Vec<usize> {
            loader.iter().map(|update| update.divisor).collect()
        };
        assert_eq!(divisors(&loader()), [4, 4, 2]);
        assert_eq!(divisors(&TrainLoader { divisor: Some(4), ..loader() }), [4, 4, 4]);
    }

    #[test]
    fn each_call_hands_out_the_next_chunk_with_numbered_updates() {
        let loader = loader();
        let first: Vec<_> = loader.iter().collect();
        let second: Vec<_> = loader.iter().collect();
        let updates = |b: &[UpdateBatch<B>]| b.iter().map(|b| b.update).collect::<Vec<_>>();
        assert_eq!(updates(&first), [1, 2, 3]);
        assert_eq!(updates(&second), [4, 5, 6]);
        assert_eq!(first.iter().map(|b| labels(b).len()).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!(loader.iter().count(), 0, "the plan is over");
    }

    #[test]
    fn a_loader_goes_on_where_a_run_stopped() {
        let whole = loader();
        let whole: Vec<_> = whole.iter().chain(whole.iter()).collect();
        for start in 0..=6 {
            let loader = on_devices(1, 4, 1, start);
            let rest: Vec<_> = loader.iter().chain(loader.iter()).collect();
            assert_eq!(rest.len(), 6 - start);
            for (a, b) in whole.iter().skip(start).zip(&rest) {
                assert_eq!((a.update, labels(a)), (b.update, labels(b)), "from {start}");
            }
        }
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
        let seen: Vec<_> = loader.iter().map(|b| (b.set, b.labels.len())).collect();
        assert_eq!(seen, [(0, 3), (0, 1), (1, 3)]);
        assert_eq!(loader.num_items(), 7);
        let lengths: Vec<_> = loader.iter().map(|b| b.padded_to.unwrap()).collect();
        assert_eq!(lengths, [2, 3, 3]);
    }
}
