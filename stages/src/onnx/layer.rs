//! One layer, of either form.

use super::activation::activated;
use super::attention::{Attending, attend};
use super::graph::{Builder, Value, int};
use super::positions::Relative;
use crate::family::LayerForm;
use crate::model::config::{AttentionConfig, ModelConfig};
use crate::model::encoder::layer_name::LayerName;

/// What a layer needs besides its states.
pub struct Layer<'a> {
    pub config: &'a ModelConfig,
    pub name: LayerName,
    pub relative: &'a Relative,
    /// Whether only the first token is computed, `[batch_size, 1, hidden]`.
    pub first_only: bool,
}

impl Layer<'_> {
    /// `[batch_size, sequence_length, hidden]` to the same.
    pub fn forward(&self, graph: &mut Builder, states: &Value) -> Value {
        graph.enter(&format!("layer.{}", self.name.index));
        match self.config.family.layer.form {
            LayerForm::PostNorm => self.post_norm(graph, states),
            LayerForm::PreNormGated { .. } => self.pre_norm(graph, states),
        }
    }

    fn part(&self, part: &str) -> String {
        self.named(&self.name.of(part))
    }

    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.config.family.prefix)
    }

    fn attend(&self, graph: &mut Builder, projected: [Value; 3], is_local: bool) -> Value {
        let Layer { config, name, relative, .. } = *self;
        let attending = Attending { config, name, relative, is_local };
        attend(graph, projected, &attending)
    }

    /// The states that the rest of the layer computes.
    fn computed(&self, graph: &mut Builder, states: &Value) -> Value {
        if !self.first_only {
            return states.clone();
        }
        let (start, end) = (graph.ints(&[0]), graph.ints(&[1]));
        graph.slice(states, 1, &start, &end)
    }

    fn post_norm(&self, graph: &mut Builder, states: &Value) -> Value {
        let (config, names) = (self.config, &self.config.family.layer);
        let eps = config.form.layer_norm_eps;
        let projected = [0, 1, 2]
            .map(|which| graph.linear(states, &self.named(&self.name.projection(which)), true));
        let attended = self.attend(graph, projected, false);
        let (attended, states) = (self.computed(graph, &attended), self.computed(graph, states));
        let attended = graph.linear(&attended, &self.part(names.attention_output), true);
        let sum = graph.op("Add", &[&attended, &states], &[]);
        let states = graph.norm(&sum, &self.part(names.attention_norm), eps, true);
        let wide = graph.linear(&states, &self.part(names.intermediate), true);
        let wide = activated(graph, &wide, config.form.activation);
        let narrow = graph.linear(&wide, &self.part(names.output), true);
        let sum = graph.op("Add", &[&narrow, &states], &[]);
        graph.norm(&sum, &self.part(names.output_norm), eps, true)
    }

    fn pre_norm(&self, graph: &mut Builder, states: &Value) -> Value {
        let (config, names) = (self.config, &self.config.family.layer);
        let (eps, biases) = (config.form.layer_norm_eps, config.form.biases);
        let normalised = match self.name.index {
            // The embeddings are normalised.
            0 => states.clone(),
            _ => graph.norm(states, &self.part(names.attention_norm), eps, biases.norms),
        };
        let joint = self.named(&self.name.projection(0));
        let joint = graph.linear(&normalised, &joint, biases.attention);
        let projected: [Value; 3] = graph.ops("Split", &[&joint], &[int("axis", -1)]);
        let is_local = match &config.attention {
            AttentionConfig::Rotary(rotary) => rotary.local.get(self.name.index) == Some(&true),
            _ => false,
        };
        let attended = self.attend(graph, projected, is_local);
        let (attended, states) = (self.computed(graph, &attended), self.computed(graph, states));
        let attended =
            graph.linear(&attended, &self.part(names.attention_output), biases.attention);
        let states = graph.op("Add", &[&attended, &states], &[]);
        let normalised = graph.norm(&states, &self.part(names.output_norm), eps, biases.norms);
        let wide = graph.linear(&normalised, &self.part(names.intermediate), biases.feed_forward);
        let [input, gate] = graph.ops("Split", &[&wide], &[int("axis", -1)]);
        let input = activated(graph, &input, config.form.activation);
        let gated = graph.op("Mul", &[&input, &gate], &[]);
        let narrow = graph.linear(&gated, &self.part(names.output), biases.feed_forward);
        graph.op("Add", &[&states, &narrow], &[])
    }
}
