//! Operations with a hand-written backward pass, as burn's autodiff takes them.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, AutodiffBackend, Cube};
use burn_cubecl::tensor::CubeTensor;

use super::Value;

/// A function of `N` tensors with one result.
pub(super) trait Operation<const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward pass needs.
    type Saved: Clone + Debug + Send + 'static;

    fn forward(&self, inputs: [CubeTensor; N]) -> (CubeTensor, Self::Saved);

    /// The gradients of the inputs, given that of the result. Those that are not `wanted` are
    /// ignored.
    fn backward(
        &self,
        saved: Self::Saved,
        gradient: CubeTensor,
        wanted: [bool; N],
    ) -> [Option<CubeTensor>; N];
}

/// Computes an operation, and registers it with autodiff if one of the inputs is recorded.
pub(super) fn run<O: Operation<N>, const N: usize>(operation: O, inputs: [Value; N]) -> Value {
    if inputs.iter().all(|input| matches!(input, Value::Plain(_))) {
        let inputs = inputs.map(|input| match input {
            Value::Plain(plain) => plain,
            Value::Recorded(_) => unreachable!("all are plain"),
        });
        return Value::Plain(operation.forward(inputs).0);
    }
    let recorded = inputs.map(|input| match input {
        Value::Plain(plain) => <Autodiff<Cube> as AutodiffBackend>::from_inner(plain),
        Value::Recorded(recorded) => recorded,
    });
    let mut tensors = Vec::with_capacity(N);
    let guards = recorded.map(|input| {
        let (tensor, guard) = input.into_parts();
        tensors.push(tensor);
        guard
    });
    let Ok(tensors) = <[CubeTensor; N]>::try_from(tensors) else {
        unreachable!("one for each input")
    };
    let (output, saved) = operation.forward(tensors);
    let prepared = Recorded(operation.clone()).prepare::<NoCheckpointing>(guards);
    Value::Recorded(match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(saved, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    })
}

#[derive(Debug)]
struct Recorded<O>(O);

impl<O: Operation<N>, const N: usize> Backward<Cube, N> for Recorded<O> {
    type State = O::Saved;

    fn backward(self, ops: Ops<O::Saved, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Cube>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = self.0.backward(ops.state, gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Cube>(parent.id, gradient);
            }
        }
    }
}
