//! DeBERTa's table of relative positions (He et al. 2021), shared by all layers, and the convolution
//! that some of its models have after the first layer.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::layer_name::{LayerName, POSITION_PROJECTIONS};
use super::norm::{LayerNorm, NormShape};
use super::pass::{DistanceRows, Pass};
use crate::family::{Activation, Attention};
use crate::model::affine::{Affine, Weight};
use crate::model::config::{AttentionConfig, Convolution, Disentangled, ModelConfig};
#[cfg(feature = "device")]
use crate::model::device;
use crate::model::noise::Site;
use crate::model::ops::{self, Factor};
use crate::model::parameters::{Linear, Parameter, ParameterSource, Start, table, vector, weight};
use crate::model::relative::log_buckets;

/// A row for each relative position.
#[derive(Clone, Debug)]
pub(super) struct DistanceTable {
    /// `[2 · span, hidden]`
    table: Tensor<2>,
    norm: Option<LayerNorm>,
    span: usize,
    buckets: Option<usize>,
    max_distance: usize,
    /// Whether positions are used as keys, and as queries.
    uses: [bool; 2],
}

impl DistanceTable {
    pub(super) fn new(
        config: &ModelConfig,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> Option<DistanceTable> {
        let (names, found) = disentangled(config)?;
        let (span, hidden) = (found.span?, config.hidden_size);
        let shape = NormShape { size: hidden, eps: config.form.layer_norm_eps, has_bias: true };
        let name = format!("{}.weight", names[0]);
        Some(DistanceTable {
            table: table(source, &name, [2 * span, hidden], device),
            norm: found.normalises.then(|| LayerNorm::new(source, names[1], shape, device)),
            span,
            buckets: found.buckets,
            max_distance: found.max_distance,
            uses: [found.content_to_position, found.position_to_content],
        })
    }

    /// The row of each distance in a batch of this width.
    pub(super) fn indices(&self, width: usize) -> Vec<usize> {
        log_buckets(width, self.span, self.buckets, self.max_distance)
    }

    /// The features of a row.
    #[cfg(feature = "device")]
    pub(super) fn features(&self) -> usize {
        self.table.dims()[1]
    }

    /// The rows of the distances in a batch of this width, whose indices may be on the device already.
    pub(super) fn rows(&self, width: usize, sent: Option<Tensor<1, Int>>) -> DistanceRows {
        let indices = self.indices(width);
        let numbers = sent.unwrap_or_else(|| {
            #[cfg(feature = "device")]
            device::sent::note();
            let numbers: Vec<i32> = indices.iter().map(|index| *index as i32).collect();
            let numbers = TensorData::new(numbers, [indices.len()]);
            Tensor::from_data(numbers, &self.table.device())
        });
        let rows = self.table.clone().select(0, numbers);
        let rows = match &self.norm {
            Some(norm) => norm.forward(rows),
            None => rows,
        };
        DistanceRows { rows, indices, table: 2 * self.span, uses: self.uses }
    }

    pub(super) fn collect<'a>(
        &'a mut self,
        names: &Attention,
        into: &mut Vec<(String, Parameter<'a>)>,
    ) {
        let Attention::Disentangled { table, norm: norm_name, .. } = names else { return };
        into.push((format!("{table}.weight"), Parameter::Table(&mut self.table)));
        if let Some(norm) = &mut self.norm {
            norm.collect(norm_name, into);
        }
    }
}

/// The names of the table, its norm and the convolution, and what the config says of them.
fn disentangled(config: &ModelConfig) -> Option<([&'static str; 3], &Disentangled)> {
    let Attention::Disentangled { table, norm, convolution } = config.family.attention else {
        return None;
    };
    let AttentionConfig::Disentangled(found) = &config.attention else { return None };
    Some(([table, norm, convolution], found))
}

impl DistanceRows {
    /// Positions as keys and as queries of a layer, `[2 · width - 1, hidden]` each, with the layer's
    /// `own` projections, or with those of key and query, which are `shared` with their factors. What a
    /// model does not use is 0.
    pub(super) fn projected(
        &self,
        own: Option<&DistanceProjections>,
        shared: [(&Linear, Factor); 2],
        layer: usize,
        pass: &Pass,
    ) -> [Tensor<2>; 2] {
        let [count, hidden] = self.rows.dims();
        let site = Site::RelativePositions { layer };
        let mask = pass.noise.and_then(|noise| noise.mask_of_table(site, pass.rates.hidden));
        let mask = mask.map(|mask| mask.of_tokens(&self.indices, self.table, hidden));
        let mask = mask.map(|mask| pass.sent(mask, site));
        let rows = self.rows.clone().reshape([count, 1, hidden]);
        let rows = ops::dropout(rows, mask.as_ref()).reshape([count, hidden]);
        let projection = |which: usize| match own {
            Some(own) => Some(([&own.keys, &own.queries][which].as_ref()?, Factor::default())),
            None => self.uses[which].then(|| shared[which].clone()),
        };
        [0, 1].map(|which| match projection(which) {
            Some((linear, factor)) => linear.forward_by(rows.clone(), &factor, pass.precision),
            None => Tensor::zeros([count, hidden], &rows.device()),
        })
    }
}

/// Projections of positions that a layer has of its own, or none where the model uses none.
#[derive(Clone, Debug)]
pub(super) struct DistanceProjections {
    keys: Option<Linear>,
    queries: Option<Linear>,
}

impl DistanceProjections {
    /// `None` if positions are projected as queries and keys are.
    pub(super) fn new(
        config: &ModelConfig,
        name: LayerName,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> Option<DistanceProjections> {
        let (_, found) = disentangled(config)?;
        if found.span.is_none() || found.shares_keys {
            return None;
        }
        let square = [config.hidden_size, config.hidden_size];
        let mut linear = |part: &str, is_used: bool| {
            is_used.then(|| Linear::new(source, &name.of(part), square, device))
        };
        Some(DistanceProjections {
            keys: linear(POSITION_PROJECTIONS[0], found.content_to_position),
            queries: linear(POSITION_PROJECTIONS[1], found.position_to_content),
        })
    }

    pub(super) fn collect<'a>(
        &'a mut self,
        name: LayerName,
        into: &mut Vec<(String, Parameter<'a>)>,
    ) {
        for (linear, part) in
            [&mut self.keys, &mut self.queries].into_iter().zip(POSITION_PROJECTIONS)
        {
            if let Some(linear) = linear {
                linear.collect(&name.of(part), into);
            }
        }
    }
}

/// A convolution over the embeddings, whose result is added to the states after the first layer.
#[derive(Clone, Debug)]
pub(super) struct TokenConvolution {
    /// `[hidden · kernel, hidden]`
    weight: Tensor<2>,
    bias: Tensor<1>,
    norm: LayerNorm,
    kernel: usize,
    activation: Activation,
}

impl TokenConvolution {
    pub(super) fn new(
        config: &ModelConfig,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> Option<TokenConvolution> {
        let ([_, _, name], found) = disentangled(config)?;
        let Convolution { kernel, activation } = found.convolution?;
        let hidden = config.hidden_size;
        let shape = NormShape { size: hidden, eps: config.form.layer_norm_eps, has_bias: true };
        let stored =
            source.values(&format!("{name}.conv.weight"), &[hidden, hidden, kernel], Start::Normal);
        Some(TokenConvolution {
            weight: weight(&stored, [hidden * kernel, hidden], device),
            bias: vector(source, &format!("{name}.conv.bias"), hidden, Start::Zeros, device),
            norm: LayerNorm::new(source, &format!("{name}.LayerNorm"), shape, device),
            kernel,
            activation,
        })
    }

    /// `norm(states + activation(dropout(convolution(embeddings))))`. `real` is 1 for tokens and 0
    /// for padding, `[rows, width, 1]`.
    ///
    /// # Shapes
    ///
    /// `[rows, width, hidden]` twice to the same.
    pub(super) fn forward(
        &self,
        embeddings: Tensor<3>,
        states: Tensor<3>,
        real: Tensor<3>,
        pass: &Pass,
    ) -> Tensor<3> {
        let [rows, width, hidden] = embeddings.dims();
        let (reach, device) = (self.kernel / 2, embeddings.device());
        let edge = Tensor::zeros([rows, reach, hidden], &device);
        let padded = Tensor::cat(vec![edge.clone(), embeddings * real, edge], 1);
        let shifted = (0..self.kernel).map(|shift| padded.clone().narrow(1, shift, width));
        let windows: Tensor<4> = Tensor::stack(shifted.collect(), 3); // [rows, width, hidden, kernel]
        let windows = windows.reshape([rows, width, hidden * self.kernel]);
        let affine = Affine {
            weight: Weight::Floats(Box::new(self.weight.clone())),
            bias: self.bias.clone(),
        };
        let found = ops::linear(windows, &affine, &Factor::default(), pass.precision);
        let mask = pass.mask(Site::Convolution, rows, pass.rates.hidden);
        let found = ops::activated(ops::dropout(found, mask.as_ref()), self.activation);
        // burn may change `states` in place, which the norm of the layer before has written.
        #[cfg(feature = "device")]
        pass.twins.forget();
        self.norm.forward(states + found)
    }

    pub(super) fn collect<'a>(&'a mut self, name: &str, into: &mut Vec<(String, Parameter<'a>)>) {
        let weight = Parameter::Kernel { weight: &mut self.weight, size: self.kernel };
        into.push((format!("{name}.conv.weight"), weight));
        into.push((format!("{name}.conv.bias"), Parameter::Vector(&mut self.bias)));
        self.norm.collect(&format!("{name}.LayerNorm"), into);
    }
}
