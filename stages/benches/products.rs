//! Times the ways that cubek has to compute the products of a training step, on a GPU.
//!
//! ```sh
//! cargo bench --features cuda -p stages --bench products -- cuda bf16 1280
//! ```
//!
//! The arguments are the device, the format of the factors (`bf16` or `f32`), the number of tokens of
//! a batch, and perhaps parts of names of ways. A line has the sizes, the way, the best time of 100
//! launches in a recording, and how far the result is from that of the first way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use burn::backend::Cube;
use burn::tensor::{DType, Device, Distribution, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::future::block_on;
use cubecl::ir::{ElemType, FloatKind};
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy as Way;
use cubek::matmul::multi_level::components::tile::TileMatmulKind;
use cubek::matmul::multi_level::routines::TileSizeSelection;
use cubek::matmul::multi_level::routines::batch::double_buffering::DoubleBufferingArgs;
use cubek::matmul::multi_level::routines::batch::double_unit::DoubleUnitSelectionArgs;
use cubek::matmul::multi_level::routines::batch::ordered_double_buffering::OrderedSelectionArgs;
use cubek::matmul::multi_level::routines::batch::simple::SimpleArgs;
use cubek::matmul::multi_level::routines::batch::simple_unit::SimpleUnitSelectionArgs;
use cubek::matmul::multi_level::routines::gemm::GemmStrategy;
use cubek::matmul::routine::BlueprintStrategy::Inferred;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

/// Outputs and inputs of the weights of a layer with 768 features.
const WEIGHTS: [[usize; 2]; 4] = [[2304, 768], [768, 768], [3072, 768], [768, 3072]];
const RECORDED: usize = 20;
const REPEATED: usize = 5;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|it| !it.starts_with("--"));
    let device = arguments.next().unwrap_or("auto".to_owned());
    let dtype = if arguments.next().as_deref() == Some("f32") { DType::F32 } else { DType::BF16 };
    let tokens = arguments.next().map_or(1280, |it| it.parse().expect("a number of tokens"));
    let names: Vec<String> = arguments.collect();
    let device = stages::model::accelerator::choose(&device).expect("a device").device;
    for [outputs, inputs] in WEIGHTS {
        let input = random([tokens, inputs], dtype, &device);
        let gradient = random([tokens, outputs], dtype, &device);
        let weight = random([outputs, inputs], dtype, &device);
        let forward = (input.clone(), turned(weight.clone()));
        for (what, (left, right)) in [
            ("x W'", forward),
            ("g W", (gradient.clone(), weight)),
            ("g' x", (turned(gradient), input)),
        ] {
            let mut first = None;
            for (name, way) in ways() {
                if names.is_empty() || names.iter().any(|it| name.contains(it)) {
                    let [m, k] = [left.meta.shape()[0], left.meta.shape()[1]];
                    let n = right.meta.shape()[1];
                    print!("{m:4} x {k:4} x {n:4} {what:5} {name:34} ");
                    match timed(&way, &left, &right, &device, &mut first) {
                        Ok(Timed { seconds, compiled, error }) => {
                            let rate = 2.0 * (m * n * k) as f64 / seconds / 1e12;
                            let micros = seconds * 1e6;
                            println!(
                                "{micros:8.1} µs {rate:6.1} TFLOP/s, off by {error:.0e}, first after {compiled:.2} s"
                            );
                        }
                        Err(why) => println!("{}", why.chars().take(90).collect::<String>()),
                    }
                }
            }
        }
    }
}

struct Timed {
    /// Of one launch.
    seconds: f64,
    /// Until the first result.
    compiled: f64,
    error: f32,
}

fn timed(
    way: &Strategy,
    left: &CubeTensor,
    right: &CubeTensor,
    device: &Device,
    first: &mut Option<Vec<f32>>,
) -> Result<Timed, String> {
    // What no kernel writes is then no product.
    let sizes = [left.meta.shape()[0], right.meta.shape()[1]];
    let output = random(sizes, DType::F32, device);
    let client = output.client.clone();
    let wait = || block_on(client.sync()).map_err(|error| format!("{error:?}"));
    wait()?;
    let began = Instant::now();
    multiply(way, left, right, &output)?;
    wait()?;
    let compiled = began.elapsed().as_secs_f64();
    let found = Tensor::<2>::from_primitive::<Cube>(output.clone()).into_data();
    let found = found.try_to_vec::<f32>().map_err(|error| format!("{error:?}"))?;
    let apart = |one: &Vec<f32>| -> f32 {
        found.iter().zip(one).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let error = first.as_ref().map_or(0.0, apart);
    first.get_or_insert(found);
    client.graph_prepare().map_err(|error| format!("{error:?}"))?;
    client.start_capture().map_err(|error| format!("{error:?}"))?;
    let launched = (0..RECORDED).try_for_each(|_| multiply(way, left, right, &output));
    let graph = client.stop_capture().map_err(|error| format!("{error:?}"))?;
    launched?;
    let mut seconds = f64::INFINITY;
    for _ in 0..4 {
        let began = Instant::now();
        for _ in 0..REPEATED {
            // SAFETY: the tensors that it reads and writes live and stay where they are.
            unsafe { graph.replay() }.map_err(|error| format!("{error:?}"))?;
        }
        wait()?;
        seconds = seconds.min(began.elapsed().as_secs_f64() / (RECORDED * REPEATED) as f64);
    }
    Ok(Timed { seconds, compiled, error })
}

fn multiply(
    way: &Strategy,
    left: &CubeTensor,
    right: &CubeTensor,
    output: &CubeTensor,
) -> Result<(), String> {
    let kind = if left.dtype == DType::BF16 { FloatKind::BF16 } else { FloatKind::F32 };
    let [factors, out] = [ElemType::Float(kind), ElemType::Float(FloatKind::F32)];
    let mut types =
        MatmulElems::from_globals(&MatmulGlobalElems { lhs: factors, rhs: factors, out });
    let [left, right] = [left, right].map(|it| InputBinding::new(it.clone().binding(), factors));
    let launched = catch_unwind(AssertUnwindSafe(|| {
        launch_ref(way, &output.client, left, right, output.clone().binding(), &mut types)
    }));
    let launched = launched.map_err(|_| "panicked".to_owned())?;
    launched.map_err(|error| format!("{error:?}"))
}

fn random(shape: [usize; 2], dtype: DType, device: &Device) -> CubeTensor {
    let tensor = Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), device);
    let tensor = tensor.try_into_primitive::<Cube>().expect("a tensor on a GPU");
    if dtype == DType::F32 { tensor } else { burn_cubecl::kernel::cast(tensor, dtype) }
}

fn turned(mut matrix: CubeTensor) -> CubeTensor {
    matrix.meta.swap(0, 1);
    matrix
}

fn ways() -> Vec<(String, Strategy)> {
    let kinds = [TileMatmulKind::Cmma, TileMatmulKind::Mma];
    let mut ways = Vec::new();
    for multi_rows in [false, true] {
        let [cmma, mma] = kinds.map(|tile_matmul| Inferred(SimpleArgs { tile_matmul, multi_rows }));
        let rows = if multi_rows { " rows" } else { "" };
        ways.push((format!("simple cmma{rows}"), Way::SimpleCyclicCmma(cmma)));
        ways.push((format!("simple mma{rows}"), Way::SimpleCyclicMma(mma)));
    }
    for specialized in [false, true] {
        let [cmma, mma] =
            kinds.map(|tile_matmul| Inferred(DoubleBufferingArgs { tile_matmul, specialized }));
        let loaders = if specialized { " loaders" } else { "" };
        ways.push((format!("double cmma{loaders}"), Way::DoubleCyclicCmma(cmma)));
        ways.push((format!("double mma{loaders}"), Way::DoubleCyclicMma(mma)));
    }
    for [k, rows, each] in
        [[2, 2, 1], [2, 4, 1], [2, 4, 2], [4, 4, 2], [2, 8, 1], [2, 8, 2], [4, 8, 2], [2, 16, 2]]
    {
        let [partition_k, row_count, rows_per_plane] = [k, rows, each].map(Some);
        let [cmma, mma] = kinds.map(|tile_matmul| {
            Inferred(OrderedSelectionArgs { tile_matmul, partition_k, row_count, rows_per_plane })
        });
        let sizes = format!("k{k} rows{rows} each{each}");
        ways.push((format!("ordered cmma {sizes}"), Way::OrderedDoubleCmma(cmma)));
        ways.push((format!("ordered mma {sizes}"), Way::OrderedDoubleMma(mma)));
    }
    ways.push(("specialized mma".to_owned(), Way::SpecializedCyclicMma(Inferred(().into()))));
    for tile_size in [TileSizeSelection::MaxTileSize, TileSizeSelection::MinTileSize] {
        let simple = Inferred(SimpleUnitSelectionArgs { tile_size });
        let double = Inferred(DoubleUnitSelectionArgs { tile_size });
        ways.push((format!("simple unit {tile_size}"), Way::SimpleUnit(simple)));
        ways.push((format!("double unit {tile_size}"), Way::DoubleUnit(double)));
    }
    ways.push(("gemm".to_owned(), Way::Gemm(Inferred(GemmStrategy { target_num_planes: None }))));
    let ways = ways.into_iter().map(|(name, way)| (name, Strategy::MultiLevel(way)));
    std::iter::once(("auto".to_owned(), Strategy::Auto)).chain(ways).collect()
}
