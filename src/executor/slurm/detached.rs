//! Batch jobs: each ready stage is submitted with `sbatch`, those of one family together as an
//! array. The engine may be on a login node, and may come back to its jobs after it was gone.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::executor::slurm::SlurmError;
use crate::executor::slurm::clerk::{self, Heard, Order, Submit};
use crate::executor::slurm::folder::{JobFile, JobFolder};
use crate::executor::slurm::request::{LATE_FILES, batch_options};
use crate::executor::{
    Ended, Executor, ExecutorError, ExecutorName, News, Process, Stop, Stopper, Task,
};
use crate::key::Key;
use crate::pipeline::variants::family;
use crate::store::Store;

/// The executor `sbatch`.
pub struct Detached {
    store: Store,
    orders: Mutex<Sender<Order>>,
    clerk: Option<JoinHandle<()>>,
    count: AtomicU64,
}

impl Detached {
    /// `binary` is this program, at a path that nodes see.
    pub fn new(store: &Store, binary: &Path) -> Detached {
        let (sender, receiver) = channel();
        let office = clerk::Office {
            binary: binary.to_owned(),
            jobs: store.jobs_folder(),
            orders: sender.clone(),
        };
        let clerk = std::thread::spawn(move || clerk::work(office, &receiver));
        Detached {
            store: store.clone(),
            orders: Mutex::new(sender),
            clerk: Some(clerk),
            count: AtomicU64::new(0),
        }
    }

    fn orders(&self) -> Sender<Order> {
        self.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        let _ = self.orders().send(Order::Close);
        let _ = self.clerk.take().map(JoinHandle::join);
    }
}

impl Executor for Detached {
    fn start(&self, task: &Task) -> Result<Box<dyn Process>, ExecutorError> {
        let folder = JobFolder(task.work.folder.clone());
        let late = task.work.request.late_files.unwrap_or(LATE_FILES);
        let taken_up = folder.submission();
        if taken_up.is_none() {
            folder.write_job(&JobFile::of(task, self.store.root(), late.as_secs_f64())?)?;
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = channel();
        let submit = Submit {
            number,
            folder,
            family: family(&task.work.stage).to_owned(),
            options: batch_options(&task.work.request),
            array_limit: task.work.request.array_limit,
            late,
            taken_up,
            sender,
        };
        let orders = self.orders();
        orders.send(Order::Submit(Box::new(submit))).map_err(|_| SlurmError::NoClerk)?;
        Ok(Box::new(BatchJob { number, receiver, orders }))
    }

    fn folder(&self, _: ExecutorName, key: Key) -> Option<PathBuf> {
        Some(self.store.job_folder(key))
    }

    fn takes_up(&self, _: ExecutorName, key: Key) -> Result<bool, ExecutorError> {
        let folder = JobFolder(self.store.job_folder(key));
        Ok(folder.submission().is_some() && matches!(folder.job(), Ok(Some(_))))
    }

    fn keeps_time(&self, _: ExecutorName) -> bool {
        true
    }
}

struct BatchJob {
    number: u64,
    receiver: Receiver<Heard>,
    orders: Sender<Order>,
}

impl Process for BatchJob {
    fn stopper(&self) -> Box<dyn Stopper> {
        Box::new(BatchStopper { number: self.number, orders: self.orders.clone() })
    }

    fn wait(
        self: Box<Self>,
        on_news: &mut (dyn FnMut(News) + Send),
    ) -> Result<Ended, ExecutorError> {
        loop {
            match self.receiver.recv() {
                Ok(Heard::News(news)) => on_news(news),
                Ok(Heard::End(end)) => return Ok(end?),
                Err(_) => return Err(SlurmError::NoClerk.into()),
            }
        }
    }
}

struct BatchStopper {
    number: u64,
    orders: Sender<Order>,
}

impl Stopper for BatchStopper {
    fn stop(&self, how: Stop) {
        // Where the clerk is gone, the job has ended.
        let _ = self.orders.send(Order::Stop { number: self.number, how });
    }
}
