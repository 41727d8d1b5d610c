//! The task of a classifier: what it predicts for a text. The type of the labels in the data says
//! which it is, and `problem_type` in a model's `config.json`, so that no stage but `ingest` has
//! to be told.

use crate::stage::choice::choice;

choice! {
    /// What is predicted for a text.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Task {
        /// One of several labels: cross-entropy, and the likeliest label.
        Single = "single",
        /// Any number of several labels, also none: binary cross-entropy of each label, and the
        /// labels whose probability exceeds a threshold.
        Multi = "multi",
        /// A number: squared error.
        Regression = "regression",
    }
}

const ALL: [Task; 3] = [Task::Single, Task::Multi, Task::Regression];

impl Task {
    /// The word for it in a parameter and in metadata.
    pub fn word(self) -> &'static str {
        Task::WORDS[self as usize]
    }

    /// The task with this word.
    pub fn of_word(word: &str) -> Option<Task> {
        ALL.into_iter().find(|task| task.word() == word)
    }

    /// `problem_type` in the `config.json` of `transformers`.
    pub fn problem_type(self) -> &'static str {
        match self {
            Task::Single => "single_label_classification",
            Task::Multi => "multi_label_classification",
            Task::Regression => "regression",
        }
    }

    /// The task with this `problem_type`.
    pub fn of_problem_type(name: &str) -> Option<Task> {
        ALL.into_iter().find(|task| task.problem_type() == name)
    }

    /// The labels of this task in words: "one label", "a list of labels", "a number".
    pub fn labels_in_words(self) -> &'static str {
        match self {
            Task::Single => "one label",
            Task::Multi => "a list of labels",
            Task::Regression => "a number",
        }
    }
}

/// The one task that all labels of a file have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommonTask(Option<Task>);

impl CommonTask {
    /// # Errors
    /// The label belongs to another task than those before: the problem in words.
    pub fn add(&mut self, found: Task) -> Result<(), String> {
        match *self.0.get_or_insert(found) {
            task if task == found => Ok(()),
            task => Err(format!(
                "the label is {}, but that of an earlier row is {}: all rows need the same task",
                found.labels_in_words(),
                task.labels_in_words()
            )),
        }
    }

    /// `None` if no row has a label.
    pub fn get(self) -> Option<Task> {
        self.0
    }

    /// [`Task::Single`] if no row has a label.
    pub fn or_single(self) -> Task {
        self.0.unwrap_or(Task::Single)
    }
}
