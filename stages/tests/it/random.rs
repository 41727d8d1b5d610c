//! The random number generator of all stages.

use stages::data::random::Random;
use stages::data::random::normal::{ln, normal_quantile};

fn words(mut random: Random, number: usize) -> Vec<u32> {
    (0..number).map(|_| random.next_u32()).collect()
}

#[test]
fn a_seed_gives_the_same_numbers_in_every_version() {
    let mut random = Random::new(42, "test", 1, 2);
    let first = [832_248_922, 3_998_185_553, 3_486_939_471, 1_163_953_853];
    assert_eq!(words(random.clone(), 4), first);
    // Uses the first word.
    assert_eq!(random.uniform(), 0.193_773_03);
    // Uses the next two words. The last digits of `scipy.stats.norm.ppf` are 4237.
    assert_eq!(random.normal(), 0.884_794_870_116_423_4);
}

#[test]
fn every_part_of_the_address_changes_the_stream() {
    let streams = [
        words(Random::new(42, "test", 1, 2), 4),
        words(Random::new(43, "test", 1, 2), 4),
        words(Random::new(42, "tests", 1, 2), 4),
        words(Random::new(42, "test", 2, 2), 4),
        words(Random::new(42, "test", 1, 3), 4),
        words(Random::new(42, "test", 2, 1), 4),
    ];
    for (index, stream) in streams.iter().enumerate() {
        assert!(!streams[..index].contains(stream), "{index}");
    }
}

#[test]
fn seeking_goes_to_any_word() {
    let all = words(Random::new(1, "test", 0, 0), 40);
    for start in 0..20 {
        let mut random = Random::new(1, "test", 0, 0);
        random.seek(start as u64);
        assert_eq!(words(random, 20), all[start..start + 20], "from {start}");
    }
}

#[test]
fn filling_gives_the_same_numbers_as_drawing_one_by_one() {
    for (before, length) in [(0, 0), (0, 1), (0, 8), (1, 2), (1, 3), (2, 17), (3, 100)] {
        let mut random = Random::new(5, "test", 0, 0);
        let mut one_by_one = random.clone();
        skip(&mut random, before);
        skip(&mut one_by_one, before);
        let mut filled = vec![0.0; length];
        random.fill_uniform(&mut filled);
        let drawn: Vec<f32> = (0..length).map(|_| one_by_one.uniform()).collect();
        assert_eq!(filled, drawn, "{length} after {before}");
        assert_eq!(random.next_u32(), one_by_one.next_u32(), "{length} after {before}");
    }
}

fn skip(random: &mut Random, number: usize) {
    (0..number).for_each(|_| {
        random.next_u32();
    });
}

#[test]
fn uniform_numbers_fill_the_unit_interval_evenly() {
    let mut numbers = vec![0.0_f32; 100_000];
    Random::new(3, "test", 0, 0).fill_uniform(&mut numbers);
    let mut counts = [0_u32; 10];
    numbers.iter().for_each(|number| counts[(number * 10.0) as usize] += 1);
    // Each count has mean 10,000 and standard deviation 95.
    assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
}

#[test]
fn normal_quantiles_and_logarithms_equal_those_of_scipy() {
    let expected: Vec<[f64; 3]> =
        serde_json::from_str(include_str!("../fixtures/random/normal_quantiles.json")).unwrap();
    assert!(expected.len() > 20);
    for [probability, quantile, logarithm] in expected {
        let close = |found: f64, wanted: f64| (found - wanted).abs() <= 2e-15 * wanted.abs();
        let found = normal_quantile(probability);
        assert!(close(found, quantile), "{probability}: {found}, not {quantile}");
        let found = ln(probability);
        assert!(close(found, logarithm), "ln {probability}: {found}, not {logarithm}");
    }
}

#[test]
fn normal_numbers_have_mean_0_and_variance_1() {
    let mut random = Random::new(9, "test", 0, 0);
    let numbers: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
    let mean = numbers.iter().sum::<f64>() / 1e5;
    let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / 1e5;
    assert!(mean.abs() < 0.015, "{mean}");
    assert!((variance - 1.0).abs() < 0.02, "{variance}");
}

#[test]
fn bounded_numbers_are_even_and_below_their_bound() {
    let mut random = Random::new(2, "test", 0, 0);
    let mut counts = [0_u32; 7];
    (0..70_000).for_each(|_| counts[random.below(7) as usize] += 1);
    assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    assert_eq!(random.below(1), 0);
    assert_eq!(random.below(0), 0);
    // With this bound a quarter of all draws is rejected.
    let bound = (1 << 63) + (1 << 62);
    assert!((0..1000).all(|_| random.below(bound) < bound));
}

#[test]
fn shuffles_keep_all_items_and_reach_every_order_equally_often() {
    let mut counts = std::collections::BTreeMap::new();
    for round in 0..24_000 {
        let mut items = [0, 1, 2, 3];
        Random::new(4, "test", round, 0).shuffle(&mut items);
        *counts.entry(items).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 24);
    assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
}

#[test]
fn binomial_numbers_have_the_mean_and_variance_of_the_distribution() {
    let mut random = Random::new(6, "test", 0, 0);
    for (trials, part, whole) in [(10, 3, 10), (1000, 1, 3), (130, 7, 8), (5, 1, 1 << 40)] {
        let p = part as f64 / whole as f64;
        let rounds = 20_000;
        let drawn: Vec<f64> =
            (0..rounds).map(|_| random.binomial(trials, part, whole) as f64).collect();
        let mean = drawn.iter().sum::<f64>() / f64::from(rounds);
        let variance = drawn.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / f64::from(rounds);
        let (true_mean, true_variance) = (trials as f64 * p, trials as f64 * p * (1.0 - p));
        let tolerance = 5.0 * (true_variance / f64::from(rounds)).sqrt() + 1e-9;
        assert!((mean - true_mean).abs() < tolerance, "{trials}, {p}: mean {mean}");
        assert!((variance - true_variance).abs() < 0.1 * true_variance + 1e-6, "{trials}, {p}");
        assert!(drawn.iter().all(|it| *it <= trials as f64));
    }
    assert_eq!(random.binomial(9, 0, 5), 0);
    assert_eq!(random.binomial(9, 5, 5), 9);
}

#[test]
fn the_outcomes_of_a_few_trials_have_binomial_frequencies() {
    let mut random = Random::new(8, "test", 0, 0);
    let mut counts = [0_u32; 4];
    (0..80_000).for_each(|_| counts[random.binomial(3, 1, 4) as usize] += 1);
    // The probabilities are 27/64, 27/64, 9/64 and 1/64.
    for (count, wanted) in counts.iter().zip([33_750.0_f64, 33_750.0, 11_250.0, 1_250.0]) {
        assert!((f64::from(*count) - wanted).abs() < 5.0 * wanted.sqrt(), "{counts:?}");
    }
}
