use super::*;
use std::collections::HashMap;

#[test]
fn the_same_seed_gives_the_same_data_and_another_seed_other_data() {
    assert_eq!(generate(SEED), generate(SEED));
    assert_ne!(generate(SEED).train, generate(SEED + 1).train);
}

#[test]
fn the_labels_are_balanced_and_no_pair_occurs_twice() {
    let demo = generate(SEED);
    for pairs in [&demo.train, &demo.dev] {
        for label in LABELS {
            assert_eq!(pairs.iter().filter(|p| p.label == label).count() * 3, pairs.len());
        }
    }
    let all = demo.train.iter().chain(&demo.dev);
    let texts: HashSet<_> = all.map(|p| (&p.premise, &p.hypothesis)).collect();
    assert_eq!(texts.len(), TRAIN + DEV);
}

/// Lower-cased words and punctuation marks.
fn words(text: &str) -> Vec<String> {
    let spaced = text.to_lowercase().replace(',', " , ").replace('.', " . ");
    spaced.split_whitespace().map(String::from).collect()
}

#[test]
fn every_word_is_covered_by_the_vocabulary() {
    let demo = generate(SEED);
    let distinct: HashSet<_> = demo.vocab.iter().collect();
    assert_eq!(distinct.len(), demo.vocab.len());
    for pair in demo.train.iter().chain(&demo.dev) {
        for word in [&pair.premise, &pair.hypothesis].into_iter().flat_map(|text| words(text)) {
            let plural = word.strip_suffix('s').unwrap_or(&word);
            let stem = plural.strip_suffix("er").unwrap_or(plural);
            let known = [&*word, plural, stem].iter().any(|w| demo.vocab.iter().any(|v| v == w));
            assert!(known, "{word}");
        }
    }
}

#[test]
fn the_files_have_the_columns_of_mnli() {
    let demo = generate(SEED);
    for (pairs, annotators, columns) in [(&demo.train, 1, 12), (&demo.dev, 5, 16)] {
        let text = table(pairs, annotators);
        assert!(text.lines().all(|line| line.split('\t').count() == columns));
        let row: Vec<_> = text.lines().nth(1).unwrap().split('\t').collect();
        assert_eq!([row[8], row[9]], [&*pairs[0].premise, &*pairs[0].hypothesis]);
        assert_eq!(row[columns - 1], pairs[0].label);
    }
}

/// Words and bigrams of each side, and how many of the hypothesis's occur in the premise.
fn features(pair: &Pair, ids: &mut HashMap<String, usize>) -> Vec<usize> {
    let [p, h] = [words(&pair.premise), words(&pair.hypothesis)];
    let grams = |w: &[String], n: usize| w.windows(n).map(|g| g.join(" ")).collect::<Vec<_>>();
    let mut names = vec![String::from("bias")];
    for n in [1, 2] {
        let [p, h] = [grams(&p, n), grams(&h, n)];
        let shared = h.iter().filter(|g| p.contains(g)).count();
        names.push(format!("shared {n} {shared}"));
        names.push(format!("missing {n} {}", h.len() - shared));
        names.extend(p.iter().map(|g| format!("p {g}")));
        names.extend(h.iter().map(|g| format!("h {g}")));
    }
    let mut id = |name| {
        let next = ids.len();
        *ids.entry(name).or_insert(next)
    };
    names.into_iter().map(&mut id).collect()
}

/// The three labels' probabilities.
fn softmax(weights: &[[f64; 3]], x: &[usize]) -> [f64; 3] {
    let z = [0, 1, 2].map(|c| x.iter().map(|&i| weights[i][c]).sum::<f64>().exp());
    z.map(|e| e / z.iter().sum::<f64>())
}

#[test]
fn bag_of_words_stays_under_60_percent() {
    let (demo, mut ids) = (generate(SEED), HashMap::new());
    let mut encode = |pairs: &[Pair]| -> Vec<(Vec<usize>, usize)> {
        let y = |p: &Pair| LABELS.iter().position(|l| *l == p.label).unwrap();
        pairs.iter().map(|p| (features(p, &mut ids), y(p))).collect()
    };
    let (train, dev) = (encode(&demo.train), encode(&demo.dev));
    let mut weights = vec![[0.0; 3]; ids.len()];
    let mut squares = vec![[1e-8; 3]; ids.len()];
    // Adagrad.
    for _ in 0..20 {
        for (x, y) in &train {
            let p = softmax(&weights, x);
            for &i in x {
                for c in 0..3 {
                    let g = p[c] - f64::from(u8::from(c == *y)) + 1e-4 * weights[i][c];
                    squares[i][c] += g * g;
                    weights[i][c] -= 0.05 * g / squares[i][c].sqrt();
                }
            }
        }
    }
    let right = dev.iter().filter(|(x, y)| {
        let p = softmax(&weights, x);
        (0..3).all(|c| p[c] <= p[*y])
    });
    let accuracy = right.count() as f64 / dev.len() as f64;
    println!("bag of words: {accuracy:.3}");
    assert!(accuracy > 0.30 && accuracy < 0.60, "{accuracy}");
}
