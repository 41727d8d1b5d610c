//! The parameters of `split`.

use crate::stage::params::{Default, ParamKind, ParamSpec, Params};

pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "share",
        ParamKind::float(0.0, 1.0),
        Default::Float(0.9),
        "the share of the rows to train with, more than 0 and less than 1; the number of \
              rows is rounded to the nearest. Has no effect if `folds` is given",
    ),
    ParamSpec::new(
        "folds",
        ParamKind::int(0, 1000),
        Default::Int(0),
        "the number of folds of equal size to divide the rows into; 0 divides by `share`",
    ),
    ParamSpec::new(
        "fold",
        ParamKind::int(0, 999),
        Default::Int(0),
        "the fold to validate with, counted from 0; the others are to train with",
    ),
    ParamSpec::new(
        "stratify",
        ParamKind::Bool,
        Default::Bool(false),
        "whether each label is divided in the same proportion, within one row",
    ),
    ParamSpec::new(
        "group_duplicates",
        ParamKind::Bool,
        Default::Bool(true),
        "whether rows with the same text stay in one part, so that no text is both trained \
              and validated with. Sizes are then as near as whole groups allow",
    ),
    ParamSpec::new(
        "group_conversations",
        ParamKind::Bool,
        Default::Bool(false),
        "whether rows whose contexts begin with the same turn stay in one part, so that no \
              conversation is both trained and validated with",
    ),
    ParamSpec::new(
        "seed",
        ParamKind::int(0, i64::MAX),
        Default::Int(42),
        "the seed of the random division",
    ),
    ParamSpec::new(
        "train_share",
        ParamKind::float(0.0, 1.0),
        Default::Float(1.0),
        "the share of the training part to keep, more than 0, the same of each label; the rest is in no \
              part. A smaller share is a part of a larger one, for learning curves (`pipe sweep curve`)",
    )
    .late(),
];

/// The parameters of `split`, parsed.
#[derive(Clone, Debug)]
pub struct SplitParams {
    pub division: Division,
    pub stratify: bool,
    pub group_duplicates: bool,
    pub group_conversations: bool,
    pub seed: u64,
    /// How much of the training part is kept.
    pub train_share: f64,
}

/// How the rows are divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Division {
    /// This share of the rows is to train with.
    Share(f64),
    /// Into `folds` folds, of which `fold`, counted from 0, is to validate with.
    Folds { folds: u16, fold: u16 },
}

impl SplitParams {
    pub fn of(params: &Params) -> SplitParams {
        let division = match params.count("folds") as u16 {
            0 => Division::Share(params.float("share")),
            folds => Division::Folds { folds, fold: params.count("fold") as u16 },
        };
        SplitParams {
            division,
            stratify: params.bool("stratify"),
            group_duplicates: params.bool("group_duplicates"),
            group_conversations: params.bool("group_conversations"),
            seed: params.int("seed").unsigned_abs(),
            train_share: params.float("train_share"),
        }
    }

    /// What to do about a label that only one of the parts has.
    pub fn for_missing_labels(&self) -> &'static str {
        match (self.stratify, self.group_conversations, self.group_duplicates) {
            (false, _, _) => {
                "`stratify: true` divides the rows of each label in the same proportion"
            }
            (true, true, _) => {
                "`group_conversations` keeps its rows in one part; another `seed` or `share` may \
                 divide them, or more rows"
            }
            (true, false, true) => {
                "it has too few rows, or `group_duplicates` keeps them in one part; another `seed` or \
                 `share` may help, or more rows"
            }
            (true, false, false) => {
                "it has too few rows; another `seed` or `share` may help, or more rows"
            }
        }
    }
}
