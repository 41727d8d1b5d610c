//! Batch jobs: each ready stage is submitted with `sbatch`; stages of one family are submitted
//! together as an array. The engine may run on a login node, and may find its jobs again after it
//! was stopped.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::executor::slurm::clerk;
use crate::executor::slurm::clerk::order::{Heard, Order, Submit};
use crate::executor::slurm::clerk::state::Office;
use crate::executor::slurm::error::SlurmError;
use crate::executor::slurm::folder::{JobFile, JobFolder};
use crate::executor::slurm::parcel::Parcel;
use crate::executor::slurm::request::{LATE_FILES, batch_options};
use crate::executor::status::{Ended, News, Stop};
use crate::executor::task::Task;
use crate::executor::{Executor, ExecutorError, Process, Stopper};
use crate::files::threads;
use crate::files::unique;
use crate::pipeline::ExecutorName;
use crate::pipeline::Transfer;
use crate::remote::Remote;
use crate::store::Store;
use crate::store::key::Key;
use crate::text::variants::family;

/// The executor `sbatch`.
pub struct Detached {
    store: Store,
    /// The remote for stages whose files travel through one.
    remote: Option<Arc<Remote>>,
    orders: Mutex<Sender<Order>>,
    clerk: Option<JoinHandle<()>>,
    count: AtomicU64,
}

impl Detached {
    /// `binary` is this program, at a path that the nodes see.
    pub fn new(store: &Store, binary: &Path, remote: Option<Arc<Remote>>) -> Detached {
        let (sender, receiver) = channel();
        let office =
            Office { binary: binary.to_owned(), jobs: store.jobs_folder(), orders: sender.clone() };
        // Without this thread, `start` finds that nobody takes its order.
        let clerk = threads::spawn(binary, move || clerk::work(office, &receiver)).ok();
        Detached {
            store: store.clone(),
            remote,
            orders: Mutex::new(sender),
            clerk,
            count: AtomicU64::new(0),
        }
    }

    fn parcel(&self, key: Key, name: Option<String>, folder: &JobFolder) -> Option<Arc<Parcel>> {
        let remote = self.remote.as_ref()?;
        Some(Arc::new(Parcel::new(name?, remote, &self.store, key, folder)))
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
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let mut parcel = None;
        if taken_up.is_none() {
            let mut job = JobFile::of(task, self.store.root(), late.as_secs_f64())?;
            if task.work.request.transfer == Some(Transfer::Remote) {
                job.parcel = Some(format!("{}-{}-{number}", task.work.key, unique::random()));
            }
            folder.write_job(&job)?;
            parcel = self.parcel(task.work.key, job.parcel, &folder);
            parcel.as_ref().map_or(Ok(()), |parcel| parcel.send())?;
        } else if let Ok(Some(job)) = folder.job() {
            parcel = self.parcel(task.work.key, job.parcel, &folder);
        }
        let (sender, receiver) = channel();
        let submit = Submit {
            number,
            folder,
            family: family(&task.work.stage).to_owned(),
            options: batch_options(&task.work.request),
            array_limit: task.work.request.array_limit,
            late,
            taken_up,
            parcel,
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
        // If the clerk is gone, the job has ended.
        let _ = self.orders.send(Order::Stop { number: self.number, how });
    }
}
