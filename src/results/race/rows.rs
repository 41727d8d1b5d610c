//! A file of predictions as a figure, and how much each of its rows moves the figure.
//!
//! A figure is a smooth function of counts, so to first order it is a mean over rows: the *influence* of
//! row i is n times the change of the figure when the row gets a little more weight, and the influences of
//! all rows have the mean 0 (F. Hampel, "The influence curve and its role in robust estimation", JASA 69,
//! 1974). For accuracy it is (right - accuracy). For F1 = 2·TP / S with S = 2·TP + FP + FN it is
//! n · (2·tp - F1·(gold + predicted)) / S, where tp, gold and predicted are 1 or 0 for the row. A macro
//! average has the mean of the influences of its labels.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use stages::StageError;
use stages::data::classification::Headline;
use stages::data::labels::LabelTable;
use stages::data::lines::LineReader;
use stages::data::prediction::Prediction;
use stages::data::target::Target;
use stages::data::task::Task;

/// The numbers of the examples, by id.
#[derive(Debug, Default)]
pub struct Ids(HashMap<String, usize>);

/// One file of predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub figure: f64,
    /// The number of each row's example, in the order of the file. Only rows with a true label count.
    pub examples: Vec<usize>,
    /// By row.
    pub influence: Vec<f64>,
}

/// Why a file has no such figure.
#[derive(Debug)]
pub enum ScoringError {
    File(StageError),
    /// Predictions of this kind do not have it.
    NoFigure,
}

impl From<StageError> for ScoringError {
    fn from(error: StageError) -> ScoringError {
        ScoringError::File(error)
    }
}

impl Ids {
    fn number(&mut self, id: String) -> usize {
        let next = self.0.len();
        *self.0.entry(id).or_insert(next)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The true and the predicted labels of a row.
type Labels = (BTreeSet<u16>, BTreeSet<u16>);

/// Reads a file. `positive` is the label of `f1` or `positive_f1`, if one was named.
pub fn read(
    path: &Path,
    figure: &str,
    positive: Option<&str>,
    ids: &mut Ids,
) -> Result<Scored, ScoringError> {
    let mut lines = LineReader::open(path)?;
    let (mut labels, mut rows, mut examples) = (LabelTable::default(), Vec::new(), Vec::new());
    let mut is_multi = false;
    while let Some(row) = lines.next_json::<Prediction>()? {
        row.check().map_err(|problem| lines.error(problem))?;
        match row.label.task() {
            Task::Regression => return Err(ScoringError::NoFigure),
            task => is_multi |= task == Task::Multi,
        }
        let mut number = |target: &Target| -> Result<BTreeSet<u16>, String> {
            target.labels().iter().map(|name| labels.number(name)).collect()
        };
        let predicted = number(&row.label).map_err(|problem| lines.error(problem))?;
        let gold = row.gold.as_ref().map(&mut number).transpose();
        let gold = gold.map_err(|problem| lines.error(problem))?;
        for name in row.probabilities.keys() {
            labels.number(name).map_err(|problem| lines.error(problem))?;
        }
        if let Some(gold) = gold {
            examples.push(ids.number(row.id));
            rows.push((gold, predicted));
        }
    }
    if rows.is_empty() {
        let problem = "no row has a true label".to_owned();
        return Err(StageError::File { path: path.to_owned(), problem }.into());
    }
    let (figure, influence) = match figure {
        "accuracy" => accuracy(&rows),
        "micro_f1" if is_multi => micro_f1(&rows),
        "macro_f1" => {
            let all: BTreeSet<u16> = match is_multi {
                true => labels.iter().map(|(_, number)| number).collect(),
                false => {
                    rows.iter().flat_map(|(gold, it)| gold.iter().chain(it)).copied().collect()
                }
            };
            mean_f1(&rows, &all)
        }
        "f1" | "positive_f1" if !is_multi => {
            let headline = Headline::of(labels.iter().map(|(name, _)| name), positive);
            let label = match figure {
                "f1" => headline.positive(),
                _ => headline.positive().or(positive),
            };
            let label = label.ok_or(ScoringError::NoFigure)?;
            // A label that no row has: F1 is 0.
            mean_f1(&rows, &BTreeSet::from([labels.get(label).unwrap_or(u16::MAX)]))
        }
        _ => return Err(ScoringError::NoFigure),
    };
    Ok(Scored { figure, examples, influence })
}

fn accuracy(rows: &[Labels]) -> (f64, Vec<f64>) {
    let right = |(gold, predicted): &Labels| f64::from(u8::from(gold == predicted));
    let figure = rows.iter().map(right).sum::<f64>() / rows.len() as f64;
    (figure, rows.iter().map(|row| right(row) - figure).collect())
}

/// The labels of all rows together.
fn micro_f1(rows: &[Labels]) -> (f64, Vec<f64>) {
    let of_row = |(gold, predicted): &Labels| {
        let hits = gold.intersection(predicted).count() as f64;
        (2.0 * hits, (gold.len() + predicted.len()) as f64)
    };
    let (part, whole) = rows.iter().map(of_row).fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
    let figure = if whole > 0.0 { part / whole } else { 0.0 };
    let influence = rows.iter().map(of_row).map(|(part, size)| match whole > 0.0 {
        true => rows.len() as f64 * (part - figure * size) / whole,
        false => 0.0,
    });
    (figure, influence.collect())
}

/// The mean of F1 over these labels.
fn mean_f1(rows: &[Labels], labels: &BTreeSet<u16>) -> (f64, Vec<f64>) {
    let (mut hits, mut sizes) = (HashMap::<u16, f64>::new(), HashMap::<u16, f64>::new());
    for (gold, predicted) in rows {
        gold.iter().chain(predicted).for_each(|label| *sizes.entry(*label).or_default() += 1.0);
        gold.intersection(predicted).for_each(|label| *hits.entry(*label).or_default() += 1.0);
    }
    let f1 = |label: &u16| {
        let hits = hits.get(label).copied().unwrap_or_default();
        sizes.get(label).map_or(0.0, |size| 2.0 * hits / size)
    };
    let count = labels.len() as f64;
    let influence = |(gold, predicted): &Labels| {
        let of_label = |label: &u16| {
            let (in_gold, in_it) = (gold.contains(label), predicted.contains(label));
            let hit = f64::from(u8::from(in_gold && in_it));
            let size = f64::from(u8::from(in_gold)) + f64::from(u8::from(in_it));
            rows.len() as f64 * (2.0 * hit - f1(label) * size) / sizes[label]
        };
        let touched = gold.union(predicted).filter(|label| labels.contains(label));
        touched.map(of_label).sum::<f64>() / count
    };
    (labels.iter().map(f1).sum::<f64>() / count, rows.iter().map(influence).collect())
}

#[cfg(test)]
mod tests {
    use super::{Ids, Labels, accuracy, mean_f1, micro_f1, read};

    fn rows() -> Vec<Labels> {
        let row = |(gold, it): (&[u16], &[u16])| {
            (gold.iter().copied().collect(), it.iter().copied().collect())
        };
        let pairs: [(&[u16], &[u16]); 8] = [
            (&[0], &[0]),
            (&[0], &[1]),
            (&[1], &[1]),
            (&[2], &[1]),
            (&[2], &[2]),
            (&[1], &[1]),
            (&[0, 1], &[1]),
            (&[2], &[0, 2]),
        ];
        pairs.map(row).to_vec()
    }

    /// A row counts a little more: the figure moves by its influence.
    #[test]
    fn an_influence_is_the_change_of_the_figure_by_the_weight_of_a_row() {
        type Figure = fn(&[Labels]) -> (f64, Vec<f64>);
        let figures: [Figure; 3] = [accuracy, micro_f1, |rows| mean_f1(rows, &[0, 1, 2].into())];
        for figure in figures {
            let (before, influence) = figure(&rows());
            assert!(influence.iter().sum::<f64>().abs() < 1e-12);
            const TIMES: usize = 100_000;
            for (row, expected) in rows().into_iter().zip(influence) {
                let mut more: Vec<Labels> =
                    rows().into_iter().flat_map(|row| vec![row; TIMES]).collect();
                more.push(row);
                let moved = (figure(&more).0 - before) * more.len() as f64;
                assert!((moved - expected).abs() < 1e-4, "{moved} {expected}");
            }
        }
    }

    #[test]
    fn a_file_has_the_figures_that_scikit_learn_gives_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let row = |(id, gold, label): (usize, &str, &str)| {
            format!("{{\"id\":\"{id}\",\"label\":\"{label}\",\"gold\":\"{gold}\"}}\n")
        };
        let rows = [(0, "a", "a"), (1, "a", "b"), (2, "b", "b"), (3, "b", "b"), (4, "b", "a")];
        std::fs::write(&path, rows.map(row).concat()).unwrap();
        let figure = |name, positive| {
            read(&path, name, positive, &mut Ids::default()).map(|scored| scored.figure).ok()
        };
        // accuracy_score, f1_score(pos_label="b"), f1_score(pos_label="a"), f1_score(average="macro")
        assert_eq!(figure("accuracy", None), Some(0.6));
        assert_eq!(figure("f1", None), Some(2.0 / 3.0));
        assert_eq!(figure("f1", Some("a")), Some(0.5));
        assert_eq!(figure("macro_f1", None), Some((2.0 / 3.0 + 0.5) / 2.0));
        assert_eq!(figure("micro_f1", None), None);
    }
}
