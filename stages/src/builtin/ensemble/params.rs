//! The parameters of `ensemble`: their table, and their values as a typed struct.

use std::collections::BTreeMap;

use crate::stage::choice::choice;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};

pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "method",
        ParamKind::Choice(Method::WORDS),
        Default::Text("mean"),
        "`mean`: the label with the highest mean probability; `vote`: the label of most members; \
         a tie goes to the higher mean probability, then to the first in alphabetical order",
    ),
    ParamSpec::new(
        "weights",
        ParamKind::FloatMap { min: 0.0, max: f64::MAX },
        Default::EmptyMap,
        "weights of members by name, for instance `seed=1: 2`; members that are not listed have \
         weight 1",
    ),
];

choice! {
    /// How the label is chosen.
    pub enum Method {
        /// The label with the highest mean probability.
        Mean = "mean",
        /// The label that most members predict. A member votes for its own label, which takes the
        /// member's decision threshold into account.
        Vote = "vote",
    }
}

/// The parameters of one `ensemble`.
#[derive(Clone, Debug, PartialEq)]
pub struct EnsembleParams {
    pub method: Method,
    /// By the member's name. Other members have weight 1.
    pub weights: BTreeMap<String, f64>,
}

impl EnsembleParams {
    pub fn of(params: &Params) -> EnsembleParams {
        EnsembleParams {
            method: Method::of(params, "method"),
            weights: params.float_map("weights"),
        }
    }
}
