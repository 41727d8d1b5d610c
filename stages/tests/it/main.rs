//! The tests of the built-in stages. Each runs a stage from its manifest, as the engine does.

mod accelerator;
mod audit;
mod baseline;
mod clean;
mod device;
mod ensemble;
mod finetune;
mod finetune_recipe;
mod harness;
mod heads;
mod ingest;
#[cfg(feature = "columns")]
mod ingest_columns;
mod ingest_delimited;
mod ingest_files;
mod label_names;
mod masked_lm;
mod model;
mod params;
mod pool;
mod pretrain;
mod random;
mod recipe;
mod reference;
mod score;
mod split;
mod threshold;
mod tokenize;
mod tokens_of_a_model;
mod train_tokenizer;
mod training_steps;
