//! `pretrain` as the engine runs it, on a tiny model and a small vocabulary.

#![cfg(feature = "model")]

use std::path::PathBuf;

use crate::harness::{Done, Run};
use crate::reference::fixture;
use crate::train_tokenizer::{texts, tokenizer};

/// Pretrains a tiny RoBERTa on some sentences.
fn pretrain(tokenizer: &Done) -> Run {
    Run::new("pretrain")
        .input_path("tokenizer", tokenizer.path("tokenizer"))
        .input("text", texts(400))
        .param("layers", 2)
        .param("hidden", 32)
        .param("heads", 2)
        .param("max_position", 40)
        .param("batch_tokens", 512)
        .param("epochs", 2)
        .param("valid_share", 0.1)
        .param("learning_rate", 5e-3)
}

#[test]
fn a_model_learns_from_random_weights_and_every_evaluation_is_written_down() {
    let tokenizer = tokenizer(400).run();
    let done = pretrain(&tokenizer).param("epochs", 6).run();
    let rows = done.rows("metrics");
    assert_eq!(rows.len(), 6);
    let loss = |index: usize| rows[index]["valid_loss"].as_f64().unwrap();
    assert!(loss(5) < loss(0) - 1.0, "{rows:?}");
    for row in &rows {
        let perplexity = row["valid_perplexity"].as_f64().unwrap();
        assert!((perplexity.ln() - row["valid_loss"].as_f64().unwrap()).abs() < 1e-9);
        let train_loss = row["train_loss"].as_f64().unwrap();
        assert!((train_loss / perplexity.ln() - 1.0).abs() < 0.3, "{row}");
        assert!(row["step"].is_u64());
        assert!(row.get("train_seconds").is_none(), "artifacts hold no times");
    }
    assert_eq!(rows[5]["learning_rate"], 0.0);
    let told = done.events.iter().filter(|event| event["values"]["valid_loss"].is_f64());
    assert_eq!(told.count(), 7, "after each epoch, and as the result");
    let config = done.json("model/config.json");
    assert_eq!(config["architectures"][0], "RobertaForMaskedLM");
    assert_eq!(config["max_position_embeddings"], 42);
    for name in ["tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"] {
        let (before, after) = (format!("tokenizer/{name}"), format!("model/{name}"));
        assert_eq!(tokenizer.bytes(&before), done.bytes(&after));
    }
}

#[test]
fn the_bytes_are_the_same_at_any_number_of_threads_and_others_for_another_seed() {
    let tokenizer = tokenizer(400).run();
    let of = |threads: usize, seed: i64| {
        let run = pretrain(&tokenizer).param("steps", 6).param("seed", seed);
        let run = run.param("accumulate", 2).param("evaluate_every", 3);
        let done = run.threads(threads).run();
        (done.bytes("model/model.safetensors"), done.text("metrics"))
    };
    let one = of(1, 1);
    assert!(one == of(2, 1), "two threads");
    assert!(one == of(3, 1), "three threads");
    assert!(one.0 != of(1, 2).0, "another seed");
}

#[test]
fn products_in_bf16_learn_nearly_as_those_in_f32_at_any_number_of_threads() {
    let tokenizer = tokenizer(400).run();
    let losses = |threads: usize, precision: &str| -> Vec<f64> {
        let run = pretrain(&tokenizer).param("precision", precision).param("steps", 20);
        let rows = run.param("evaluate_every", 5).threads(threads).run().rows("metrics");
        rows.iter().map(|row| row["valid_loss"].as_f64().unwrap()).collect()
    };
    let (exact, rounded) = (losses(2, "f32"), losses(2, "bf16"));
    for (exact, rounded) in exact.iter().zip(&rounded) {
        assert!((exact - rounded).abs() < 0.01 * exact, "{rounded} instead of {exact}");
    }
    assert_ne!(exact, rounded, "nothing was rounded");
    assert_eq!(rounded, losses(3, "bf16"));
}

#[test]
fn held_out_texts_are_evaluated_alike_whatever_the_batches() {
    let tokenizer = tokenizer(400).run();
    // At a learning rate of 0 the model does not change.
    let loss = |batch_tokens: usize| {
        let run = pretrain(&tokenizer).param("learning_rate", 0.0).param("steps", 1);
        let row = run.param("batch_tokens", batch_tokens).run().rows("metrics").remove(0);
        row["valid_loss"].as_f64().unwrap()
    };
    assert!((loss(60) - loss(1_000)).abs() < 1e-4);
}

#[test]
fn finetune_starts_from_its_output_in_f32_and_f16() {
    let tokenizer = tokenizer(400).run();
    for precision in ["f32", "f16"] {
        let done = pretrain(&tokenizer).param("steps", 2).param("save_precision", precision).run();
        let train = "{\"id\":\"1\",\"label\":\"A\",\"text\":\"some words\"}\n\
                     {\"id\":\"2\",\"label\":\"B\",\"text\":\"other words\"}\n";
        let tokens = Run::new("tokenize").input_path("model", done.path("model"));
        let tokens = tokens.input("train", train).run();
        let tuned = Run::new("finetune")
            .input_path("model", done.path("model"))
            .input_path("train", tokens.path("train"))
            .param("epochs", 1)
            .run();
        let notes: Vec<&str> =
            tuned.events.iter().filter_map(|event| event["message"].as_str()).collect();
        let new = "new parameters: classifier.dense.weight, classifier.dense.bias, \
                   classifier.out_proj.weight, classifier.out_proj.bias";
        assert_eq!(notes, [new]);
        assert_eq!(tuned.json("model/config.json")["dtype"], "float32");
    }
}

#[test]
fn training_continues_from_a_checkpoint_and_keeps_its_pooler() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture("bert-mlm").join(name), folder.path().join(name)).unwrap();
    }
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##s", "a", "cat", "dog", "run"];
    std::fs::write(folder.path().join("vocab.txt"), words.join("\n")).unwrap();
    let run = |steps: i64| {
        Run::new("pretrain")
            .input_path("model", folder.path().to_owned())
            .input("text", "A cat runs\na dog runs\ncats run\n".repeat(20))
            .param("steps", steps)
            .param("learning_rate", 1e-2)
            .param("batch_tokens", 60)
            .run()
    };
    let (one, many) = (run(1), run(30));
    let loss = |done: &Done| done.rows("metrics").last().unwrap()["valid_loss"].as_f64().unwrap();
    assert!(loss(&many) < loss(&one), "{} and {}", loss(&many), loss(&one));
    let pooler = |path: PathBuf| {
        let bytes = std::fs::read(path.join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        file.tensor("bert.pooler.dense.weight").unwrap().data().to_vec()
    };
    assert_eq!(pooler(many.path("model")), pooler(fixture("bert-mlm")));
    assert_eq!(many.json("model/config.json")["architectures"][0], "BertForMaskedLM");
}

#[test]
fn combinations_that_make_no_sense_are_refused() {
    let tokenizer = tokenizer(400).run();
    let model =
        || Run::new("pretrain").input("text", "x").input_path("model", fixture("roberta-mlm"));
    let neither = Run::new("pretrain").input("text", "x");
    for (run, reason) in [
        (neither, "either `model`"),
        (model().input_path("tokenizer", tokenizer.path("tokenizer")), "either `model`"),
        (model().param("layers", 2), "`layers` is that of the `model`"),
        (pretrain(&tokenizer).param("heads", 3), "`hidden` 32 is not a multiple of `heads` 3"),
        (pretrain(&tokenizer).param("init", "pretrained"), "no `model`"),
        (pretrain(&tokenizer).param("mask_keep", 0.6).param("mask_random", 0.6), "more than 1"),
    ] {
        let error = run.check().unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn unfit_texts_and_lengths_are_refused_with_the_reason() {
    let tokenizer = tokenizer(400).run();
    let empty = pretrain(&tokenizer).input("text", " \n\n").run().error();
    assert!(empty.contains("text.in: there are no texts to train on"), "{empty}");
    let latin = pretrain(&tokenizer).input("text", b"good\nna\xefve\n").run().error();
    assert!(latin.contains("line 2: expected UTF-8, found the byte 0xef"), "{latin}");
    let long = pretrain(&tokenizer).param("max_length", 41).run().error();
    assert!(long.contains("`max_length`: 41 tokens are beyond the model's 40"), "{long}");
    let other = "{\"text\":\"a\"}\n{\"body\":\"b\"}\n";
    let other = pretrain(&tokenizer).input("text", other).run().error();
    assert!(other.contains("line 2: no field `text`; there are `body`"), "{other}");
}
