use super::*;
use crate::kernels::Precision;

fn layer(text: &str) -> Layer {
    Layer { origin: "recipe.toml".into(), settings: text.parse().unwrap() }
}

fn refused(text: &str) -> String {
    RunConfig::resolve(&[layer(text)]).unwrap_err().to_string()
}

#[test]
fn later_layers_win() {
    let config = RunConfig::resolve(&[layer("seed = 1\nepochs = 2"), layer("seed = 3")]).unwrap();
    assert_eq!(
        (
            config.optimisation().seed,
            config.optimisation().epochs,
            config.optimisation().batch_size
        ),
        (3, 2, 32)
    );
}

#[test]
fn resolved_settings_resolve_to_themselves() {
    let config = RunConfig::resolve(&[layer("task = \"rte\"\nfinal_threshold = 0.1")]).unwrap();
    let again = Layer { origin: "config.toml".into(), settings: config.to_table().unwrap() };
    assert_eq!(RunConfig::resolve(&[again]).unwrap(), config);
}

#[test]
fn warm_ups_are_shares_of_the_run_until_numbers_of_updates_are_named() {
    let resolve = |texts: &[&str]| {
        let layers: Vec<Layer> = texts.iter().map(|text| layer(text)).collect();
        RunConfig::resolve(&layers).unwrap()
    };
    let shares = "initial_warmup_share = 0.1\nfinal_warmup_share = 0.3";
    let warmups = |texts: &[&str]| resolve(texts).pruning().warmups(1000);
    assert_eq!(warmups(&[]), (5400, 10_800), "as the original has them");
    assert_eq!(warmups(&[shares]), (100, 300));
    assert_eq!(warmups(&[shares, "warmup_steps = 20"]), (20, 40));
    assert_eq!(warmups(&[shares, "initial_warmup = 0"]), (0, 300));
    assert_eq!(warmups(&["warmup_steps = 20", shares]), (100, 300));
    // As they stand in a run's own file, where all settings do.
    let written = resolve(&[shares]).to_table().unwrap().to_string();
    assert_eq!(warmups(&[&written]), (100, 300));
    assert_eq!(warmups(&[&written, "final_warmup = 1"]), (100, 5400));
    assert_eq!(resolve(&[shares]).ratio_schedule(1000).unwrap().boundaries(), (100, 700));
    let error = resolve(&[shares, "final_warmup = 1"]).ratio_schedule(1000).unwrap_err();
    assert!(error.to_string().contains("final_warmup_share: expected warm-ups of fewer than"));
    let error = refused("initial_warmup_share = 0.5\nfinal_warmup_share = 0.5");
    assert!(error.contains("final_warmup_share: expected with initial_warmup_share"), "{error}");
}

#[test]
fn the_defaults_for_other_data_are_between_the_published_shares() {
    let text = include_str!("../../recipes/defaults.toml");
    let config = RunConfig::resolve(&[layer(text)]).unwrap();
    // Updates and warm-ups of the recipes, by the training rows of the official files.
    let rows: [usize; 8] = [392_702, 363_846, 104_743, 67_349, 5749, 3667, 8551, 2490];
    let names = ["mnli", "qqp", "qnli", "sst", "stsb", "mrpc", "cola", "rte"];
    let mut shares: [Vec<f64>; 2] = Default::default();
    for (name, rows) in names.into_iter().zip(rows) {
        let recipe = recipes::recipe(name).unwrap().layer().unwrap();
        let recipe = RunConfig::resolve(&[recipe]).unwrap();
        let settings = recipe.optimisation();
        let total = rows.div_ceil(settings.batch_size) * settings.epochs;
        let (first, last) = recipe.pruning().warmups(total);
        shares[0].push(first as f64 / total as f64);
        shares[1].push(last as f64 / total as f64);
    }
    let chosen = [config.pruning().initial_warmup_share, config.pruning().final_warmup_share];
    for (mut shares, chosen) in shares.into_iter().zip(chosen) {
        shares.sort_by(f64::total_cmp);
        let (median, mean) = ((shares[3] + shares[4]) / 2.0, shares.iter().sum::<f64>() / 8.0);
        let between = median.min(mean)..=median.max(mean);
        assert!(between.contains(&chosen.unwrap()), "{between:?}");
    }
}

#[test]
fn wrong_settings_are_refused_by_name() {
    assert!(refused("sed = 1").starts_with("recipe.toml: expected a known setting, found \"sed\""));
    assert!(refused("seed = \"x\"").starts_with("recipe.toml: expected a valid seed"));
    assert!(refused("pruner = \"random\"").contains("platon"));
    assert!(refused("epochs = 0").starts_with("recipe.toml: epochs: expected at least 1"));
    // Divisions by it are in 32 bits.
    assert!(refused("adam_eps = 1e-46").contains("a number that is positive in 32 bits"));
    assert!(refused("beta2 = 1.0").contains("beta2: expected a number in [0, 1), found 1"));
    assert!(refused("learning_rate = nan").contains("learning_rate"));
    assert!(refused("format = 9").contains("another version"));
}

#[test]
fn defaults_are_the_settings_of_a_run_without_layers() {
    let table = RunConfig::resolve(&[]).unwrap().to_table().unwrap();
    for setting in SETTINGS {
        assert_eq!(table[setting.name], (setting.default)().unwrap(), "{}", setting.name);
    }
    assert_eq!(table.len(), SETTINGS.len() + 1, "and the format");
}

#[test]
fn a_file_of_an_earlier_version_means_what_it_meant() {
    // As the program wrote it before settings had groups.
    let old = r#"
        format = 1
        task = "rte"
        task_def = ""
        data_dir = "glue-data"
        test_datasets = []
        with_label = false
        max_seq_len = 512
        bin_on = false
        bin_size = 64
        bin_grow_ratio = 0.5
        init_checkpoint = "checkpoints/bert-base-uncased"
        tokenizer = ""
        from_scratch = false
        model_ckpt = ""
        num_hidden_layers = -1
        output_dir = "run"
        backend = "flex"
        multi_gpu_on = false
        fp16 = false
        pruner = "platon"
        initial_threshold = 1.0
        final_threshold = 0.1
        warmup_steps = 200
        initial_warmup = 1
        final_warmup = 6
        beta1 = 0.85
        beta2 = 0.95
        delta_t = 10
        optimizer = "adamax"
        batch_size = 16
        grad_accumulation_step = 1
        batch_size_eval = 128
        epochs = 20
        learning_rate = 0.0001
        warmup = 0.1
        warmup_schedule = "warmup_linear"
        weight_decay = 0.01
        adam_eps = 1e-6
        momentum = 0.0
        global_grad_clipping = 1.0
        grad_clipping = 0.0
        dropout_p = 0.1
        bert_dropout_p = 0.1
        seed = 8
        log_per_updates = 10
        eval_per_updates = 0
        save_per_updates = 10000
        save_per_updates_on = false
        keep_checkpoints = 2
        log_file = "log.log"
        tensorboard = false
        tensorboard_logdir = "tensorboard_logdir"
        glue_format_on = false
        max_steps = 0
    "#;
    let config = RunConfig::resolve(&[layer(old)]).unwrap();
    let (model, optimisation) = (config.model(), config.optimisation());
    assert_eq!(
        (&config.data().task_def, &model.tokenizer, &model.model_ckpt),
        (&None, &None, &None)
    );
    assert_eq!((model.num_hidden_layers, config.run().max_steps), (None, None));
    assert_eq!(config.run().precision, Precision::Single);
    assert_eq!((config.logging().eval_per_updates, config.logging().save_every()), (None, None));
    assert_eq!((optimisation.global_grad_clipping, optimisation.grad_clipping), (Some(1.0), None));
    assert_eq!(config.run().output_dir.as_deref(), Some(std::path::Path::new("run")));
    assert_eq!((config.pruning().final_threshold, config.logging().events()), (0.1, None));
    let old = layer(old).renamed().unwrap();
    let (kept, added): (Table, Table) =
        config.to_table().unwrap().into_iter().partition(|(name, _)| old.contains_key(name));
    assert_eq!(kept, old);
    // What has been added since has its default.
    for (name, value) in added {
        let setting = SETTINGS.iter().find(|setting| setting.name == name).unwrap();
        assert_eq!(value, (setting.default)().unwrap(), "{name}");
    }
}

#[test]
fn fp16_is_the_original_s_name_for_a_precision() {
    let precision = |texts: &[&str]| {
        let layers: Vec<Layer> = texts.iter().map(|text| layer(text)).collect();
        RunConfig::resolve(&layers).map(|config| config.run().precision)
    };
    for (text, expected) in [
        ("fp16 = true", Precision::Half),
        ("fp16 = false", Precision::Single),
        ("precision = \"bf16\"", Precision::Bf16),
        ("", Precision::Single),
    ] {
        assert_eq!(precision(&[text]).unwrap(), expected, "{text}");
    }
    // The later one counts, whatever it is called.
    let layers = ["fp16 = true", "precision = \"bf16\""];
    assert_eq!(precision(&layers).unwrap(), Precision::Bf16);
    assert_eq!(precision(&[layers[1], layers[0]]).unwrap(), Precision::Half);
    let text = refused("fp16 = true\nprecision = \"f16\"");
    let expected = "recipe.toml: expected precision or fp16, not both, found fp16 = true, \
                    precision = \"f16\" (hint: ";
    assert!(text.starts_with(expected), "{text}");
    assert!(refused("fp16 = 1").starts_with("recipe.toml: expected a valid fp16"));
    assert!(refused("precision = \"f64\"").contains("expected a valid precision"));
}

#[test]
fn a_value_is_refused_with_the_place_where_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    std::fs::write(&path, "seed = 1\n# epochs = 2\n epochs=0\n").unwrap();
    let file = Layer::from_file(&path).unwrap();
    let text = RunConfig::resolve(std::slice::from_ref(&file)).unwrap_err().to_string();
    let expected = format!("{}:3: epochs: expected at least 1, found 0", path.display());
    assert_eq!(text, expected);
    let flags = Layer::command_line("epochs = 0".parse().unwrap());
    let text = RunConfig::resolve(&[file, flags]).unwrap_err().to_string();
    assert_eq!(text, "epochs: expected at least 1, found 0");
}

#[test]
fn what_is_laid_over_checked_settings_is_checked_too() {
    let config = RunConfig::resolve(&[]).unwrap();
    let text = config.with([("dropout_p", 1.0.into())]).unwrap_err().to_string();
    assert_eq!(text, "dropout_p: expected a number in [0, 1), found 1");
    let layers = config.with([("num_hidden_layers", 3.into())]).unwrap();
    assert_eq!(layers.model().num_hidden_layers, Some(3));
}

#[test]
fn every_value_survives_its_file() {
    let far_from_default = r#"
        task_def = "tasks.yml"
        test_datasets = ["rte"]
        bin_on = true
        tokenizer = "words"
        model_ckpt = "old.pt"
        num_hidden_layers = 9223372036854775807
        initial_threshold = "auto"
        prune_include = ["layer.0.", "embeddings"]
        prune_exclude = ["bias"]
        prune_ratios = ["embeddings=0.5"]
        keep_zeros = true
        learning_rate = 1e-300
        global_grad_clipping = 0
        grad_clipping = 0.1
        seed = 9223372036854775807
        eval_per_updates = 0
        save_per_updates_on = true
        tensorboard = true
        output_dir = "run"
        max_steps = 3
    "#;
    for text in ["", far_from_default] {
        let config = RunConfig::resolve(&[layer(text)]).unwrap();
        let file = config.to_table().unwrap().to_string();
        assert_eq!(RunConfig::resolve(&[layer(&file)]).unwrap(), config, "{file}");
    }
    let config = RunConfig::resolve(&[layer(far_from_default)]).unwrap();
    let (data, optimisation, logging) = (config.data(), config.optimisation(), config.logging());
    assert_eq!(data.bins(), Some((64, 0.5)));
    assert_eq!((optimisation.global_grad_clipping, optimisation.grad_clipping), (None, Some(0.1)));
    assert_eq!(
        (logging.save_every(), logging.events()),
        (Some(10_000), Some("tensorboard_logdir"))
    );
    assert_eq!((logging.eval_per_updates, config.run().max_steps), (None, Some(3)));
}

#[test]
fn a_ratio_to_be_found_is_a_word_and_parts_keep_to_the_initial_one() {
    let found = |text: &str| {
        RunConfig::resolve(&[layer(text)]).map(|config| config.pruning().initial_threshold)
    };
    assert_eq!(found("").unwrap(), Some(1.0));
    assert_eq!(found("initial_threshold = 1").unwrap(), Some(1.0));
    assert_eq!(found("initial_threshold = \"auto\"").unwrap(), None);
    let text = refused("initial_threshold = \"all\"");
    assert!(text.contains("a valid initial_threshold") && text.contains("a number or"), "{text}");
    let auto = RunConfig::resolve(&[layer("initial_threshold = \"auto\"")]).unwrap();
    assert!(auto.ratio_schedule(100_000).is_err(), "it must have been found by then");
    let written = auto.with([("initial_threshold", 0.5.into())]).unwrap();
    assert_eq!(written.to_table().unwrap().get("initial_threshold"), Some(&0.5.into()));
    assert_eq!(
        refused("initial_threshold = 0.5\nprune_ratios = [\"layer.0.=0.6\"]"),
        "recipe.toml: prune_ratios: expected at most initial_threshold (0.5), found layer.0.=0.6"
    );
    assert!(
        refused("from_scratch = true\nkeep_zeros = true").starts_with("recipe.toml: keep_zeros")
    );
}

#[test]
fn a_checkpoint_is_bound_to_what_decides_the_weights() {
    let defaults = RunConfig::resolve(&[]).unwrap();
    let bound = defaults.bound().unwrap();
    let names: Vec<&str> = bound.keys().map(String::as_str).collect();
    assert_eq!(
        names.join(" "),
        "task more_tasks mix_opt ratio test_datasets with_label max_seq_len bin_on bin_size bin_grow_ratio text \
         text_pair label labels regression dev_share metric keep_head num_hidden_layers \
         from_scratch dropout_p more_dropouts bert_dropout_p pruner initial_threshold final_threshold \
         warmup_steps initial_warmup final_warmup initial_warmup_share final_warmup_share beta1 \
         beta2 delta_t prune_include prune_exclude prune_embeddings prune_ratios keep_zeros \
         distill_weight distill_temperature distill_hidden mkd_opt adv_train adv_alpha adv_k \
         adv_step_size adv_noise_var adv_p_norm adv_norm_level adv_epsilon optimizer batch_size grad_accumulation_step epochs learning_rate warmup \
         warmup_schedule weight_decay adam_eps momentum global_grad_clipping grad_clipping seed \
         glue_format_on backend multi_gpu_on precision max_steps"
    );
    for name in FREE {
        assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name} is a setting");
    }
    assert_eq!(bound.len() + FREE.len(), SETTINGS.len());
    let other = defaults.with([("log_per_updates", 3.into()), ("data_dir", "/x".into())]).unwrap();
    assert_eq!(other.bound().unwrap(), bound);
    assert_ne!(defaults.with([("seed", 3.into())]).unwrap().bound().unwrap(), bound);
}

#[test]
fn absolute_paths_hold_anywhere() {
    let config = RunConfig::resolve(&[layer("data_dir = \"a/b\"\ntokenizer = \"/t\"")]).unwrap();
    let absolute = config.absolute().unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(absolute.data().data_dir, here.join("a/b"));
    assert_eq!(absolute.model().tokenizer.as_deref(), Some(std::path::Path::new("/t")));
    assert_eq!(
        (absolute.model().model_ckpt.as_ref(), absolute.run().output_dir.as_ref()),
        (None, None)
    );
    assert_eq!(absolute.absolute().unwrap(), absolute);
}

#[test]
fn backends_and_precisions_are_called_as_they_are_written() {
    for backend in BackendName::ALL {
        assert_eq!(Value::try_from(backend).unwrap(), Value::from(backend.name()));
    }
    for precision in [Precision::Single, Precision::Half, Precision::Bf16] {
        assert_eq!(Value::try_from(precision).unwrap(), Value::from(precision.name()));
    }
}
