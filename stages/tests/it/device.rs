//! The kernels of a GPU beside what the host computes. They run where `$PIPE_TEST_DEVICE` names a
//! GPU, and on the CPU compare nothing.

#![cfg(feature = "device")]

use std::path::Path;

use burn::tensor::{Device, Tensor};
use stages::model::noise::{Noise, Site};
use stages::model::ops;
use stages::model::parameters::Network;

use crate::reference::{Expected, FAMILIES, device, ten_losses, trainer};

#[test]
fn masks_are_the_same_bits_as_on_the_host_at_every_site() {
    let sites = (0..3).flat_map(|layer| {
        [
            Site::AttentionProbabilities { layer },
            Site::AttentionOutput { layer },
            Site::FeedForward { layer },
        ]
    });
    let others = [Site::Embeddings, Site::HeadInput, Site::HeadHidden];
    let dims = [5, 7, 33];
    for (site, rate) in others.into_iter().chain(sites).zip([0.1, 0.5, 0.9].into_iter().cycle()) {
        let mask = Noise::new(17, 3, 2, 1).mask(site, dims[0], rate).unwrap();
        let expected = mask.states(dims, &Device::flex()).try_to_vec_as::<f32>().unwrap();
        let ones = Tensor::<3>::ones(dims, &device());
        let found = ops::dropout(ones, Some(&mask)).try_to_vec_as::<f32>().unwrap();
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(found), bits(expected), "{site:?}");
    }
}

#[test]
fn a_training_with_dropout_repeats_to_the_bit() {
    for family in FAMILIES {
        let run = || {
            let mut trainer = trainer(family);
            trainer.dropout = true;
            let losses = ten_losses(&mut trainer, &Expected::read(family));
            let parameters = trainer.model.parameters().into_iter();
            let values = parameters.flat_map(|(_, it)| it.values(Path::new("")).unwrap());
            losses.into_iter().chain(values).map(f32::to_bits).collect::<Vec<_>>()
        };
        assert!(run() == run(), "{family}");
    }
}
