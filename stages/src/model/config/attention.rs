//! The fields of `config.json` about attention.

use serde_json::Value;

use super::fields::Fields;
use crate::family::{Activation, Attention, Family};
use crate::stage::error::StageError;

/// What the scores of tokens know of positions.
#[derive(Clone, Debug, PartialEq)]
pub enum AttentionConfig {
    Plain,
    /// MPNet's.
    BucketBias {
        buckets: usize,
    },
    Disentangled(Disentangled),
    Rotary(Rotary),
}

/// DeBERTa's attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Disentangled {
    /// Rows of the table of relative positions in each direction; `None` if there is no table.
    pub span: Option<usize>,
    /// Distances up to half of this have a row each, longer ones share rows on a logarithmic scale up
    /// to `max_distance`; `None` if all have their own.
    pub buckets: Option<usize>,
    pub max_distance: usize,
    pub content_to_position: bool,
    pub position_to_content: bool,
    /// Whether positions are projected with the weights of query and key.
    pub shares_keys: bool,
    /// Whether the table is normalised.
    pub normalises: bool,
    pub convolution: Option<Convolution>,
}

/// A convolution over tokens, added to the states after the first layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convolution {
    pub kernel: usize,
    pub activation: Activation,
}

/// ModernBERT's attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// The base of the wavelengths of global layers, and of local ones.
    pub bases: [f64; 2],
    /// Local layers see tokens up to this distance.
    pub window: usize,
    /// Whether each layer is local.
    pub local: Vec<bool>,
}

impl Disentangled {
    /// The square of what scores are divided by, as a multiple of the size of a head.
    pub fn factor(&self) -> usize {
        1 + usize::from(self.content_to_position) + usize::from(self.position_to_content)
    }
}

impl AttentionConfig {
    pub(super) fn read(
        fields: &Fields,
        family: &Family,
        positions: usize,
        layers: usize,
    ) -> Result<AttentionConfig, StageError> {
        Ok(match family.attention {
            Attention::Plain => AttentionConfig::Plain,
            Attention::BucketBias { .. } => AttentionConfig::BucketBias {
                buckets: fields.count("relative_attention_num_buckets", 32)?,
            },
            Attention::Disentangled { .. } => {
                let found = disentangled(fields, positions)?;
                // It reads all tokens of the first layer, and the last layer computes few of them.
                if found.convolution.is_some() && layers < 2 {
                    let problem = "`conv_kernel_size` needs two layers or more".to_owned();
                    return Err(fields.problem(problem));
                }
                AttentionConfig::Disentangled(found)
            }
            Attention::Rotary => AttentionConfig::Rotary(rotary(fields, layers)?),
        })
    }
}

fn disentangled(fields: &Fields, positions: usize) -> Result<Disentangled, StageError> {
    for (name, only) in [("conv_groups", 1), ("talking_head", 0)] {
        let found = fields.count(name, only)?;
        if found != only {
            let problem = format!("`{name}` is {found}, only {only} is supported");
            return Err(fields.problem(problem));
        }
    }
    let kinds = match fields.present("pos_att_type") {
        None => Vec::new(),
        // Older files join them with `|`.
        Some(Value::String(text)) => {
            text.split('|').map(|kind| kind.trim().to_lowercase()).collect()
        }
        Some(Value::Array(all)) => {
            all.iter().filter_map(Value::as_str).map(str::to_lowercase).collect()
        }
        Some(other) => return Err(fields.unfit("pos_att_type", other, "a list")),
    };
    let known = ["c2p", "p2c", ""];
    if let Some(other) = kinds.iter().find(|kind| !known.contains(&&***kind)) {
        let problem = format!("`pos_att_type` has `{other}`, only c2p and p2c are supported");
        return Err(fields.problem(problem));
    }
    let has = |kind: &str| kinds.iter().any(|other| other == kind);
    let buckets = fields.count_if_positive("position_buckets")?;
    let max_distance = fields.count_if_positive("max_relative_positions")?.unwrap_or(positions);
    let is_relative = fields.switch("relative_attention", false)?;
    let norms = fields.text("norm_rel_ebd")?.unwrap_or("none").to_lowercase();
    let kernel = fields.count_if_positive("conv_kernel_size")?;
    if kernel.is_some_and(|kernel| kernel.is_multiple_of(2)) {
        return Err(
            fields.problem("`conv_kernel_size` is even, only odd ones are supported".to_owned())
        );
    }
    let activation = match fields.text("conv_act")? {
        None => Activation::Tanh,
        Some(name) => Activation::named(name).ok_or_else(|| {
            fields.unfit("conv_act", &name.into(), &format!("one of {}", Activation::names()))
        })?,
    };
    Ok(Disentangled {
        span: is_relative.then_some(buckets.unwrap_or(max_distance)),
        buckets,
        max_distance,
        content_to_position: has("c2p"),
        position_to_content: has("p2c"),
        shares_keys: fields.switch("share_att_key", false)?,
        normalises: is_relative && norms.split('|').any(|norm| norm.trim() == "layer_norm"),
        convolution: kernel.map(|kernel| Convolution { kernel, activation }),
    })
}

/// Files written by `transformers` 5 have `layer_types` and `rope_parameters`, older ones have
/// `global_attn_every_n_layers`, `global_rope_theta` and `local_rope_theta`.
fn rotary(fields: &Fields, layers: usize) -> Result<Rotary, StageError> {
    if let Some(scaling) = fields.present("rope_scaling") {
        return Err(fields.problem(format!("`rope_scaling` is {scaling}, which is not supported")));
    }
    let parameters = fields.present("rope_parameters");
    let base = |kind: &str, old: &str, default: f64| {
        let Some(found) = parameters.and_then(|all| all.get(kind)).filter(|it| !it.is_null())
        else {
            return fields.float(old, default);
        };
        let scaling = found.get("rope_type").and_then(Value::as_str).unwrap_or("default");
        if scaling != "default" {
            let problem = format!("`rope_type` is `{scaling}`, only default is supported");
            return Err(fields.problem(problem));
        }
        match found.get("rope_theta").filter(|theta| !theta.is_null()) {
            None => fields.float(old, default),
            Some(theta) => {
                theta.as_f64().ok_or_else(|| fields.unfit("rope_theta", theta, "a number"))
            }
        }
    };
    let bases = [
        base("full_attention", "global_rope_theta", 160_000.0)?,
        base("sliding_attention", "local_rope_theta", 10_000.0)?,
    ];
    if let Some(unfit) = bases.iter().find(|base| !(base.is_finite() && **base > 0.0)) {
        return Err(fields.problem(format!("the base of the rotary positions is {unfit}")));
    }
    let every = fields.count("global_attn_every_n_layers", 3)?.max(1);
    let local = match fields.present("layer_types") {
        None => (0..layers).map(|layer| !layer.is_multiple_of(every)).collect(),
        Some(kinds) => {
            let all: Option<Vec<bool>> = kinds.as_array().and_then(|kinds| {
                kinds.iter().map(|kind| kind.as_str().and_then(is_local)).collect()
            });
            let all = all.filter(|all| all.len() == layers);
            let expected = "full_attention or sliding_attention for each layer";
            all.ok_or_else(|| fields.unfit("layer_types", kinds, expected))?
        }
    };
    Ok(Rotary { bases, window: fields.count("local_attention", 128)? / 2, local })
}

fn is_local(kind: &str) -> Option<bool> {
    match kind {
        "full_attention" => Some(false),
        "sliding_attention" => Some(true),
        _ => None,
    }
}
