//! The labels of a token file, of any [`Task`].
//!
//! | task | tensor | type and shape | contents |
//! |---|---|---|---|
//! | `single` | `labels` | I32 `[rows]` | class index, -1 for none |
//! | `multi` | `labels` | I32 `[labels]` | class indices of all rows, one row after the other |
//! | | `label_offsets` | I64 `[rows + 1]` | where those of each row begin in `labels` |
//! | | `labelled` | U8 `[rows]` | 0 if the labels are not known |
//! | `regression` | `numbers` | F64 `[rows]` | the number, 0 if it is not known |
//! | | `labelled` | U8 `[rows]` | 0 if the number is not known |

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::data::target::Target;
use crate::data::task::Task;
use crate::data::tensors::{Handle, Spool, TensorFile, TensorSpec};
use crate::stage::error::StageError;

/// The label of a row, by class index.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Gold {
    /// Not known.
    #[default]
    None,
    Class(usize),
    /// Ascending.
    Classes(Vec<usize>),
    Number(f64),
}

impl From<Option<usize>> for Gold {
    fn from(class: Option<usize>) -> Gold {
        class.map_or(Gold::None, Gold::Class)
    }
}

/// Collects labels row by row. All that are known belong to the same task.
pub struct LabelWriter {
    folder: PathBuf,
    rows: usize,
    classes: Spool<i32>,
    other: Option<OtherLabels>,
}

/// The labels of another task than the usual one.
struct OtherLabels {
    task: Task,
    offsets: Spool<i64>,
    numbers: Spool<f64>,
    labelled: Spool<u8>,
}

impl LabelWriter {
    /// Creates a writer with temporary files in `folder`.
    pub fn new(folder: &Path) -> Result<LabelWriter, StageError> {
        let classes = Spool::new(folder)?;
        Ok(LabelWriter { folder: folder.to_owned(), rows: 0, classes, other: None })
    }

    pub fn push(&mut self, gold: &Gold) -> Result<(), StageError> {
        // Classes are few, so they fit into 32 bits.
        match gold {
            Gold::None if self.other.is_none() => self.classes.extend(&[-1])?,
            Gold::Class(class) => self.classes.extend(&[*class as i32])?,
            Gold::None => self.other(Task::Single)?.labelled.extend(&[0])?,
            Gold::Classes(classes) => {
                self.other(Task::Multi)?.labelled.extend(&[1])?;
                let classes: Vec<i32> = classes.iter().map(|class| *class as i32).collect();
                self.classes.extend(&classes)?;
            }
            Gold::Number(number) => {
                let other = self.other(Task::Regression)?;
                other.labelled.extend(&[1])?;
                other.numbers.extend(&[*number])?;
            }
        }
        let end = self.classes.len() as i64;
        if let Some(other) = &mut self.other {
            if other.numbers.len() < other.labelled.len() {
                other.numbers.extend(&[0.0])?;
            }
            other.offsets.extend(&[end])?;
        }
        self.rows += 1;
        Ok(())
    }

    /// The labels of a task with more than classes. Up to the first of them no label was known.
    fn other(&mut self, task: Task) -> Result<&mut OtherLabels, StageError> {
        if self.other.is_none() {
            let mut new = OtherLabels {
                task,
                offsets: Spool::new(&self.folder)?,
                numbers: Spool::new(&self.folder)?,
                labelled: Spool::new(&self.folder)?,
            };
            new.offsets.extend(&vec![0; self.rows + 1])?;
            new.numbers.extend(&vec![0.0; self.rows])?;
            new.labelled.extend(&vec![0; self.rows])?;
            self.classes = Spool::new(&self.folder)?;
            return Ok(self.other.insert(new));
        }
        self.other
            .as_mut()
            .ok_or_else(|| StageError::io("writing", &self.folder)(io::ErrorKind::Other.into()))
    }

    /// [`Task::Single`] if no label is known.
    pub fn task(&self) -> Task {
        self.other.as_ref().map_or(Task::Single, |other| other.task)
    }

    pub fn specs(&self) -> Vec<TensorSpec> {
        let labels = self.classes.spec("labels");
        match &self.other {
            None => vec![labels],
            Some(other) if other.task == Task::Multi => {
                vec![labels, other.offsets.spec("label_offsets"), other.labelled.spec("labelled")]
            }
            Some(other) => vec![other.numbers.spec("numbers"), other.labelled.spec("labelled")],
        }
    }

    /// Writes the tensor with this name, which is one of [`LabelWriter::specs`].
    pub fn copy_to(&mut self, name: &str, out: &mut dyn Write) -> io::Result<()> {
        match (&mut self.other, name) {
            (Some(other), "label_offsets") => other.offsets.copy_to(out),
            (Some(other), "labelled") => other.labelled.copy_to(out),
            (Some(other), "numbers") => other.numbers.copy_to(out),
            _ => self.classes.copy_to(out),
        }
    }
}

/// The labels of an open token file.
pub enum LabelTensors {
    Single(Handle<i32>),
    Multi { classes: Handle<i32>, offsets: Handle<i64>, labelled: Handle<u8> },
    Regression { numbers: Handle<f64>, labelled: Handle<u8> },
}

impl LabelTensors {
    /// # Errors
    /// A tensor is missing or inconsistent, or a class has no name.
    pub fn open(
        file: &TensorFile,
        task: Task,
        rows: usize,
        label_names: usize,
    ) -> Result<LabelTensors, StageError> {
        let flags = || file.handle::<u8>("labelled", Some(&[rows]));
        let opened = match task {
            Task::Single => LabelTensors::Single(file.handle("labels", Some(&[rows]))?),
            Task::Multi => {
                let classes = file.handle("labels", None)?;
                let offsets = file.handle("label_offsets", Some(&[rows + 1]))?;
                if !is_partition(file.slice(&offsets), file.slice(&classes).len()) {
                    let problem = "tensor `label_offsets` does not divide `labels` into rows";
                    return Err(file.problem(problem.to_owned()));
                }
                LabelTensors::Multi { classes, offsets, labelled: flags()? }
            }
            Task::Regression => {
                let numbers = file.handle("numbers", Some(&[rows]))?;
                if !file.slice(&numbers).iter().all(|number| f64::is_finite(*number)) {
                    return Err(
                        file.problem("tensor `numbers` has some that are not finite".to_owned())
                    );
                }
                LabelTensors::Regression { numbers, labelled: flags()? }
            }
        };
        let (classes, none): (&[i32], _) = match &opened {
            LabelTensors::Single(classes) => (file.slice(classes), -1),
            LabelTensors::Multi { classes, .. } => (file.slice(classes), 0),
            LabelTensors::Regression { .. } => (&[], 0),
        };
        let named = |label: &i32| {
            usize::try_from(*label).map_or(*label == none, |class| class < label_names)
        };
        if !classes.iter().all(named) {
            return Err(file.problem("tensor `labels` has labels without a name".to_owned()));
        }
        Ok(opened)
    }

    /// The label of a row.
    pub fn gold(&self, file: &TensorFile, row: usize) -> Gold {
        match self {
            LabelTensors::Single(classes) => usize::try_from(file.slice(classes)[row]).ok().into(),
            LabelTensors::Multi { labelled, .. } | LabelTensors::Regression { labelled, .. }
                if file.slice(labelled)[row] == 0 =>
            {
                Gold::None
            }
            LabelTensors::Multi { classes, offsets, .. } => {
                let offsets = file.slice(offsets);
                let classes =
                    &file.slice(classes)[offsets[row] as usize..offsets[row + 1] as usize];
                Gold::Classes(classes.iter().map(|class| *class as usize).collect())
            }
            LabelTensors::Regression { numbers, .. } => Gold::Number(file.slice(numbers)[row]),
        }
    }
}

impl Gold {
    /// The label by name; `None` if it is not known.
    pub fn target(self, names: &[String]) -> Option<Target> {
        Some(match self {
            Gold::None => return None,
            Gold::Class(class) => Target::Label(names[class].clone()),
            Gold::Classes(classes) => {
                Target::of_labels(classes.into_iter().map(|class| names[class].clone()).collect())
            }
            Gold::Number(number) => Target::Number(number),
        })
    }
}

/// Whether offsets ascend from 0 to `length`.
pub fn is_partition(offsets: &[i64], length: usize) -> bool {
    offsets.first() == Some(&0)
        && offsets.last().and_then(|last| usize::try_from(*last).ok()) == Some(length)
        && offsets.is_sorted()
}
