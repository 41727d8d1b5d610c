//! `pipe cache gc` removes results that nothing needs; `pipe cache du` shows what takes the space.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::{Project, check_not_inside};
use crate::console::Console;
use crate::console::store_view::{CollectionView, UsageView};
use crate::files::scratch::Scratch;
use crate::maintenance::gc::inventory::Inventory;
use crate::maintenance::gc::usage::usage;
use crate::maintenance::gc::{Keep, collect};
use crate::pipeline::{Overrides, StageIndex};
use crate::plan::Decision;
use crate::results::run_log::LoggedRun;
use crate::results::run_log::find::{ids, read};
use crate::store::Store;
use crate::store::in_use::InUse;
use crate::store::key::Key;

/// Remove results that nothing needs
///
/// The results of the current pipeline always stay, with and without each of its profiles; of a
/// stage that is not up to date, its newest result stays. Without further options, everything that
/// a run of the last 30 days made or used stays too. Downloads and the log of runs are never
/// removed.
#[derive(Debug, Args)]
pub struct GcOptions {
    /// Keep what the last N runs of `pipe log` used, instead of the last 30 days
    #[arg(long, value_name = "N")]
    keep_last: Option<usize>,
    /// Remove what no run of the last AGE made or used: `30d`, `12h`. With `--keep-last`, a result
    /// stays if either option keeps it
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Remove the least recently used results until the objects take at most SIZE: `10GB`,
    /// `500MiB`. On its own it removes nothing else
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Also remove the damaged objects in quarantine
    #[arg(long)]
    quarantine: bool,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait for runs in progress to end instead of failing
    #[arg(long)]
    wait: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct DuOptions {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const DEFAULT_AGE: Duration = Duration::from_secs(30 * 86_400);

pub fn execute(options: &GcOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let project = Project::load(globals, &OverrideOptions::default().overrides())?;
    let _alone = match options.dry_run {
        true => None,
        false => Some(alone(&project.store, options.wait, console)?),
    };
    let roots = roots(&project, globals, console)?;
    let inventory = Inventory::read(&project.store)?;
    inventory.check_readable()?;
    let age = match (options.older_than, options.keep_last, options.max_size) {
        (None, None, None) => Some(DEFAULT_AGE),
        (age, ..) => age,
    };
    let keep = Keep {
        last_runs: options.keep_last,
        since: age.map(long_ago),
        most_bytes: options.max_size,
        quarantine: !options.quarantine,
    };
    let collection = collect(&inventory, &roots, &runs(&project)?, &keep, &project.store)?;
    if !options.dry_run {
        // Opening a scratch folder removes those of killed processes.
        drop(Scratch::new(&project.store.scratch_folder())?);
        collection.carry_out(&project.store)?;
    }
    let view = CollectionView { totals: &collection.totals, dry_run: options.dry_run };
    console.print(&view, options.json)?;
    Ok(Exit::Done)
}

pub fn du(options: &DuOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let project = Project::load(globals, &OverrideOptions::default().overrides())?;
    let roots = roots(&project, globals, console)?;
    let inventory = Inventory::read(&project.store)?;
    inventory.check_readable()?;
    let keep = Keep { since: Some(long_ago(DEFAULT_AGE)), quarantine: true, ..Keep::default() };
    let collection = collect(&inventory, &roots, &runs(&project)?, &keep, &project.store)?;
    let usage = usage(&inventory, &collection, &project.store)?;
    console.print(&UsageView { usage: &usage }, options.json)?;
    Ok(Exit::Done)
}

/// Locks the store for this process alone.
pub fn alone(store: &Store, wait: bool, console: &Console) -> Result<InUse, Error> {
    check_not_inside(store)?;
    let mut say = || console.note("waiting for the runs in progress to end");
    let waiting: Option<&mut dyn FnMut()> = if wait { Some(&mut say) } else { None };
    InUse::alone(store, waiting)?.ok_or(Error::StoreInUse)
}

/// The results of the current pipeline, with and without each profile. Of a stage that is not up to
/// date it is the newest result, which `show` and `explain` read.
fn roots(project: &Project, globals: &Globals, console: &Console) -> Result<BTreeSet<Key>, Error> {
    let (mut roots, others) = hits(project)?;
    for stage in others {
        let newest = project.store.results_of(&project.pipeline[stage]).next();
        roots.extend(newest.map(|record| record.key));
    }
    for profile in &project.pipeline.profiles {
        let overrides = Overrides { profile: Some(profile.clone()), ..Overrides::default() };
        match Project::load(globals, &overrides).and_then(|project| hits(&project)) {
            Ok((more, _)) => roots.extend(more),
            // The data of a profile may exist on another machine only.
            Err(error) => console.warning(&format!(
                "profile `{profile}` cannot be planned, so only the age of its results protects them: \
                 {error}"
            )),
        }
    }
    Ok(roots)
}

/// The keys of the stages that are up to date, and the indices of the others.
fn hits(project: &Project) -> Result<(BTreeSet<Key>, Vec<StageIndex>), Error> {
    let all = project.select(&[])?;
    let plan = project.plan(&all, &BTreeSet::new(), &project.sources(true, true))?;
    let (mut hits, mut others) = (BTreeSet::new(), Vec::new());
    for planned in plan.stages {
        match planned.decision {
            Decision::Hit(record) => drop(hits.insert(record.key)),
            Decision::Run { .. } | Decision::Wait(_) => others.push(planned.stage),
        }
    }
    Ok((hits, others))
}

/// The whole log. A run that cannot be read is an error: its results could not be protected.
fn runs(project: &Project) -> Result<Vec<LoggedRun>, Error> {
    let ids = ids(&project.store)?;
    ids.iter().map(|id| Ok(read(&project.store, id)?)).collect()
}

fn long_ago(age: Duration) -> SystemTime {
    SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Reads a size in bytes: `10GB`, `1.5 GiB`, `500M` or `1024`. Units are powers of 1,000, with an `i`
/// of 1,024.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size: expected a value such as `10GB` or `500MiB`");
    let unit_at = text.find(|char: char| char.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let unit = unit.to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (unit, base) = match unit.strip_suffix('i') {
        Some(unit) => (unit, 1024.0f64),
        None => (unit, 1000.0),
    };
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit);
    let bytes = number * base.powi(power.ok_or_else(wrong)? as i32);
    let possible = (0.0..u64::MAX as f64).contains(&bytes);
    possible.then_some(bytes as u64).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(size("1024"), Ok(1024));
        assert_eq!(size("10GB"), Ok(10_000_000_000));
        assert_eq!(size("1.5 GiB"), Ok(1_610_612_736));
        assert_eq!(size("500M"), Ok(500_000_000));
        assert_eq!(size("0"), Ok(0));
        for wrong in ["", "GB", "-1GB", "10 apples", "1e400", "nan", "infG"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
