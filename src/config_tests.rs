use super::*;

fn layer(text: &str) -> Layer {
    Layer { origin: "recipe.toml".into(), settings: text.parse().unwrap() }
}

fn refused(text: &str) -> String {
    RunConfig::resolve(&[layer(text)]).unwrap_err().to_string()
}

#[test]
fn later_layers_win() {
    let config = RunConfig::resolve(&[layer("seed = 1\nepochs = 2"), layer("seed = 3")]).unwrap();
    assert_eq!((config.seed, config.epochs, config.batch_size), (3, 2, 32));
}

#[test]
fn resolved_settings_resolve_to_themselves() {
    let config = RunConfig::resolve(&[layer("task = \"rte\"\nfinal_threshold = 0.1")]).unwrap();
    let again = Layer { origin: "config.toml".into(), settings: config.to_table().unwrap() };
    assert_eq!(RunConfig::resolve(&[again]).unwrap(), config);
}

#[test]
fn wrong_settings_are_refused_by_name() {
    assert!(refused("sed = 1").starts_with("recipe.toml: expected a known setting, found \"sed\""));
    assert!(refused("seed = \"x\"").starts_with("recipe.toml: expected a valid seed"));
    assert!(refused("pruner = \"random\"").contains("platon"));
    assert!(refused("epochs = 0").contains("epochs: expected at least 1"));
    assert!(refused("beta2 = 1.0").contains("beta2: expected a number in [0, 1), found 1"));
    assert!(refused("learning_rate = nan").contains("learning_rate"));
    assert!(refused("format = 9").contains("another version"));
}
