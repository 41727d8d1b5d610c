//! Which of cubek's kernels computes a matrix product.
//!
//! Every precision has a usual kernel. How fast the others are depends on the sizes and on the GPU,
//! so they are timed on the device while a model trains, for a share of the time. Only those are
//! admitted that compute the usual kernel's bits, which is checked on random factors of the same
//! sizes: the choice decides how long a product takes and never what it is. Choices are kept with the
//! compiled kernels.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::multi_level::Strategy as Level;
use cubek::matmul::multi_level::components::tile::TileMatmulKind;
use cubek::matmul::multi_level::routines::TileSizeSelection;
use cubek::matmul::multi_level::routines::batch::double_buffering::DoubleBufferingArgs;
use cubek::matmul::multi_level::routines::batch::double_unit::DoubleUnitSelectionArgs;
use cubek::matmul::multi_level::routines::batch::ordered_double_buffering::OrderedSelectionArgs;
use cubek::matmul::multi_level::routines::batch::simple::SimpleArgs;
use cubek::matmul::multi_level::routines::batch::simple_unit::SimpleUnitSelectionArgs;
use cubek::matmul::routine::BlueprintStrategy::Inferred;
use cubek::matmul::strategy::Strategy;

use super::empty;
use super::inputs::Inputs;
use super::trial::{Sizes, Trial, launch};
use crate::model::memory::is_out_of_memory;
use crate::model::precision::Precision;
use crate::stage::panics::guarded;

/// Another kernel than the usual one must take less than this share of its time.
const GAIN: f64 = 0.97;

/// About the share of a process's time that measuring takes. Most of it is compiling.
pub const SHARE: f64 = 0.1;

#[derive(Default)]
struct Choices {
    /// The kernel for these sizes; `None` if it is the usual one.
    chosen: HashMap<Sizes, Option<Strategy>>,
    /// For what there was too little memory in this process.
    failed: HashSet<Sizes>,
    /// `None` once something else could not be measured.
    budget: Option<Budget>,
}

/// For measuring.
struct Budget {
    began: Instant,
    share: f64,
    /// Has the product that is being measured. A kernel that reads a wrong address ends all work of its process
    /// on the device, and then the note stays, for the processes after this one.
    note: Arc<File>,
    spent: Duration,
    /// The longest time for the kernels of one product.
    longest: Duration,
}

/// A product that was launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launched {
    sizes: Sizes,
    is_usual: bool,
}

thread_local! {
    /// What this thread launches, while it wants to know.
    static NOTED: RefCell<Option<Vec<Launched>>> = const { RefCell::new(None) };
}

static CHOICES: Mutex<Option<Choices>> = Mutex::new(None);

fn with_choices<T>(work: impl FnOnce(&mut Choices) -> T) -> T {
    let mut choices: MutexGuard<_> = CHOICES.lock().unwrap_or_else(PoisonError::into_inner);
    work(choices.get_or_insert_default())
}

/// The product of `[m, k]` and `[k, n]`, which may be [`transposed`], in f32.
///
/// Products of f32 avoid the tensor cores, which would round factors to TF32.
pub(super) fn multiply(left: &CubeTensor, right: &CubeTensor, precision: Precision) -> CubeTensor {
    let sizes = Sizes::of(left, right, precision);
    let output = empty(left, [sizes.rows, sizes.columns], DType::F32);
    let chosen = with_choices(|choices| choices.chosen.get(&sizes).cloned().flatten());
    NOTED.with_borrow_mut(|noted| {
        let launched = Launched { sizes, is_usual: chosen.is_none() };
        if let Some(noted) = noted
            && !noted.contains(&launched)
        {
            noted.push(launched);
        }
    });
    let launched = launch(&chosen.unwrap_or_else(|| usual(precision)), left, right, &output);
    // Panics like burn's own products, for whoever catches what a device refuses.
    launched.unwrap_or_else(|error| panic!("a matrix product on the device: {error}"));
    output
}

/// What `compute` returns, and the products that it launches.
pub fn noting<T>(compute: impl FnOnce() -> T) -> (T, Vec<Launched>) {
    /// Ends it after a panic too.
    struct Noting;
    impl Drop for Noting {
        fn drop(&mut self) {
            NOTED.take();
        }
    }
    NOTED.set(Some(Vec::new()));
    let _noting = Noting;
    let found = compute();
    (found, NOTED.take().unwrap_or_default())
}

/// Begins with the choices of an earlier process, as [`kept`] wrote them, and measures for this share
/// of the time from now on. `left` are notes of processes that ended while they measured: those products
/// keep their usual kernels. `note` is where this process writes its own.
pub fn begin(earlier: &[u8], left: &[Vec<u8>], note: File, share: f64) {
    let earlier: Vec<(Sizes, Option<String>)> = serde_json::from_slice(earlier).unwrap_or_default();
    let left = left.iter().filter_map(|note| serde_json::from_slice(note).ok());
    let mut chosen: HashMap<Sizes, Option<Strategy>> = left.map(|sizes| (sizes, None)).collect();
    for (sizes, name) in earlier {
        let mut others = others(sizes.precision).into_iter();
        let named = others.find(|it| Some(it.to_string()) == name);
        if name.is_none() || named.is_some() {
            chosen.entry(sizes).or_insert(named);
        }
    }
    let [spent, longest] = [Duration::ZERO; 2];
    let note = Arc::new(note);
    let budget = Some(Budget { began: Instant::now(), share, note, spent, longest });
    with_choices(|choices| *choices = Choices { chosen, failed: HashSet::new(), budget });
}

/// All choices and those in `earlier` for other products, as [`begin`] of a later process with the same
/// device and binary reads them; `None` if `earlier` has them all.
pub fn kept(earlier: &[u8]) -> Option<Vec<u8>> {
    let mut all: Vec<(Sizes, Option<String>)> = serde_json::from_slice(earlier).unwrap_or_default();
    let before = all.len();
    with_choices(|choices| {
        let is_new = |sizes: &Sizes| all.iter().all(|(of, _)| of != sizes);
        let chosen: Vec<_> = choices.chosen.iter().filter(|(sizes, _)| is_new(sizes)).collect();
        all.extend(
            chosen.into_iter().map(|(sizes, way)| (*sizes, way.as_ref().map(Strategy::to_string))),
        );
    });
    if all.len() == before { None } else { serde_json::to_vec(&all).ok() }
}

/// Chooses for those of `all` that have no choice yet, as far as the time suffices. Returns whether
/// one that was launched with its usual kernel has another one now. Nothing that fails here is an
/// error: the product then keeps its usual kernel.
pub fn choose(beside: &Inputs, all: &[Launched]) -> bool {
    let next = || {
        let mut sizes = all.iter().map(|launched| launched.sizes);
        with_choices(|choices| {
            sizes.find_map(|it| Some((it, Arc::clone(&choices.budget_for(&it)?.note))))
        })
    };
    while let Some((sizes, note)) = next() {
        let began = Instant::now();
        let text = serde_json::to_vec(&sizes).unwrap_or_default();
        let found = match note.write_all_at(&text, 0) {
            Ok(()) => guarded(|| fastest(&beside.buffer, sizes)).flatten(),
            Err(error) => Err(error.to_string()),
        };
        let is_harmless = found.as_ref().err().is_none_or(|why| is_out_of_memory(why));
        if is_harmless {
            let _ = note.set_len(0);
        }
        with_choices(|choices| {
            match found {
                Ok(found) => drop(choices.chosen.insert(sizes, found)),
                Err(_) if is_harmless => drop(choices.failed.insert(sizes)),
                // The note stays, and there is room for one.
                Err(_) => choices.budget = None,
            }
            if let Some(budget) = &mut choices.budget {
                let taken = began.elapsed();
                budget.spent += taken;
                budget.longest = budget.longest.max(taken);
            }
        });
    }
    with_choices(|choices| {
        let has_other = |sizes| choices.chosen.get(sizes).is_some_and(Option::is_some);
        all.iter().any(|it| it.is_usual && has_other(&it.sizes))
    })
}

impl Choices {
    /// What there is for measuring this product; `None` if it has a choice, or there is no time.
    fn budget_for(&self, sizes: &Sizes) -> Option<&Budget> {
        let has_time = |Budget { began, share, spent, longest, .. }: &&Budget| {
            (*spent + *longest).as_secs_f64() < share * began.elapsed().as_secs_f64()
        };
        let is_open = !self.chosen.contains_key(sizes) && !self.failed.contains(sizes);
        self.budget.as_ref().filter(|_| is_open).filter(has_time)
    }
}

/// The fastest kernel that computes the same bits as the usual one; `None` if that is no slower. An error if
/// the usual one cannot be computed, at the beginning or after the others.
fn fastest(beside: &CubeTensor, sizes: Sizes) -> Result<Option<Strategy>, String> {
    let trial = Trial::new(beside, sizes);
    let usual = usual(sizes.precision);
    let expected = trial.computed(&usual)?;
    let mut least = GAIN * trial.seconds(&usual)?;
    let mut found = None;
    for other in others(sizes.precision) {
        let taken = guarded(|| {
            let is_same = *trial.computed(&other)? == *expected;
            if is_same { trial.seconds(&other) } else { Ok(f64::INFINITY) }
        });
        if let Ok(Ok(taken)) = taken
            && taken < least
        {
            (least, found) = (taken, Some(other));
        }
    }
    trial.computed(&usual)?;
    Ok(found)
}

/// The kernel of a product for which none has been chosen.
pub(super) fn usual(precision: Precision) -> Strategy {
    match precision {
        // Int8 is refused on a device before a model is loaded.
        Precision::F32 | Precision::Int8 => {
            Strategy::MultiLevel(Level::SimpleUnit(Default::default()))
        }
        Precision::Tf32 | Precision::Bf16 => Strategy::Auto,
    }
}

/// The kernels that may be faster, some of those among which burn's autotune chooses.
fn others(precision: Precision) -> Vec<Strategy> {
    let all = if matches!(precision, Precision::F32 | Precision::Int8) {
        let of_size = |tile_size| {
            let simple = Inferred(SimpleUnitSelectionArgs { tile_size });
            let double = Inferred(DoubleUnitSelectionArgs { tile_size });
            [Level::SimpleUnit(simple), Level::DoubleUnit(double)]
        };
        [TileSizeSelection::MaxTileSize, TileSizeSelection::MinTileSize].map(of_size).concat()
    } else {
        let [cmma, tile_matmul] = [TileMatmulKind::Cmma, TileMatmulKind::Mma];
        let simple = |tile_matmul, multi_rows| Inferred(SimpleArgs { tile_matmul, multi_rows });
        let ordered = |rows| {
            let [partition_k, row_count, rows_per_plane] = [2, rows, 2].map(Some);
            let sizes =
                OrderedSelectionArgs { tile_matmul, partition_k, row_count, rows_per_plane };
            Level::OrderedDoubleMma(Inferred(sizes))
        };
        let double = Inferred(DoubleBufferingArgs { tile_matmul, specialized: false });
        vec![
            Level::SimpleCyclicCmma(simple(cmma, true)),
            Level::SimpleCyclicMma(simple(tile_matmul, false)),
            Level::SimpleCyclicMma(simple(tile_matmul, true)),
            ordered(4),
            ordered(8),
            Level::DoubleCyclicMma(double),
        ]
    };
    all.into_iter().map(Strategy::MultiLevel).collect()
}
