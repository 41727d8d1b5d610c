//! The depth of a parameter in the network, derived from its checkpoint name. Used for learning
//! rates by layer and for frozen layers.

/// Ordered from the bottom of the network to the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The tables, also those of relative positions that all layers share.
    Embeddings,
    /// Counted from 0, from the bottom.
    Layer(usize),
    /// Pooler and classifier.
    Head,
}

impl Depth {
    /// Of the parameter `name`.
    pub fn of(name: &str) -> Depth {
        let parts: Vec<&str> = name.split('.').collect();
        let numbered = parts.windows(2).find_map(|pair| {
            let number = pair[1].parse().ok();
            number.filter(|_| ["layer", "layers"].contains(&pair[0]))
        });
        let is_shared = |part: &&str| {
            part.contains("embeddings") || *part == "relative_attention_bias" || *part == "encoder"
        };
        match numbered {
            Some(layer) => Depth::Layer(layer),
            // DeBERTa's, after the first layer.
            None if parts.contains(&"conv") => Depth::Layer(0),
            // The encoder's own: its tables, and the norm of DeBERTa's relative positions.
            None if parts.iter().any(is_shared) => Depth::Embeddings,
            None => Depth::Head,
        }
    }

    /// The distance below the head in an encoder of `layers` layers.
    pub fn below_head(self, layers: usize) -> usize {
        match self {
            Depth::Head => 0,
            Depth::Layer(index) => layers.saturating_sub(index),
            Depth::Embeddings => layers + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_is_read_from_the_checkpoint_name() {
        for (name, depth, steps) in [
            ("bert.embeddings.word_embeddings.weight", Depth::Embeddings, 7),
            ("mpnet.encoder.relative_attention_bias.weight", Depth::Embeddings, 7),
            ("roberta.encoder.layer.0.attention.self.query.bias", Depth::Layer(0), 6),
            ("bert.encoder.layer.5.output.LayerNorm.weight", Depth::Layer(5), 1),
            ("bert.pooler.dense.weight", Depth::Head, 0),
            ("classifier.out_proj.bias", Depth::Head, 0),
            ("electra.embeddings_project.weight", Depth::Embeddings, 7),
            ("distilbert.transformer.layer.3.ffn.lin1.weight", Depth::Layer(3), 3),
            ("pre_classifier.weight", Depth::Head, 0),
            ("deberta.encoder.rel_embeddings.weight", Depth::Embeddings, 7),
            ("deberta.encoder.LayerNorm.weight", Depth::Embeddings, 7),
            ("deberta.encoder.conv.conv.weight", Depth::Layer(0), 6),
            ("model.embeddings.tok_embeddings.weight", Depth::Embeddings, 7),
            ("model.layers.2.mlp.Wi.weight", Depth::Layer(2), 4),
            ("model.final_norm.weight", Depth::Head, 0),
        ] {
            assert_eq!((Depth::of(name), Depth::of(name).below_head(6)), (depth, steps), "{name}");
        }
    }
}
