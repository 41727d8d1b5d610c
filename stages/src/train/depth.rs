//! The depth of a parameter in the network, derived from its checkpoint name. Used for learning
//! rates by layer and for frozen layers.

/// Ordered from the bottom of the network to the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The tables, and MPNet's relative attention bias, which all layers share.
    Embeddings,
    /// Counted from 0, from the bottom.
    Layer(usize),
    /// Pooler and classifier.
    Head,
}

impl Depth {
    /// Of the parameter `name`.
    pub fn of(name: &str) -> Depth {
        if name.contains("embeddings.") || name.contains("relative_attention_bias") {
            return Depth::Embeddings;
        }
        let layer = name.split_once("encoder.layer.").map(|(_, rest)| rest);
        let number = layer.and_then(|rest| rest.split('.').next()?.parse().ok());
        number.map_or(Depth::Head, Depth::Layer)
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
        ] {
            assert_eq!((Depth::of(name), Depth::of(name).below_head(6)), (depth, steps), "{name}");
        }
    }
}
