//! A folder whose power can be cut at any operation, and then only has what a real disk would be sure to have, plus as much
//! of the rest as chance leaves.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_testing::figure;
use gateway_wire::v1::Class;

use super::super::files::Files;
use super::super::folder::{Folder, Output};
use super::{History, source};

#[derive(Default)]
pub(crate) struct PowerFolder(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    files: Vec<File>,
    /// As the process sees them.
    names: BTreeMap<String, usize>,
    /// As the disk has them, and what was done to them since.
    safe_names: BTreeMap<String, usize>,
    unsafe_steps: Vec<Step>,
    n_operations: u64,
    /// The operation at which the power goes; everything fails from then on.
    off_at: Option<u64>,
    is_full: bool,
}

#[derive(Clone, Default)]
struct File {
    content: Vec<u8>,
    n_safe: usize,
}

#[derive(Clone)]
enum Step {
    Link(String, usize),
    Rename(String, String),
}

struct Handle {
    disk: Arc<Mutex<Disk>>,
    file: usize,
}

// === impl PowerFolder ===

impl PowerFolder {
    pub(crate) fn cut_at(&self, operation: u64) {
        self.lock().off_at = Some(operation);
    }

    pub(crate) fn fill(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    pub(crate) fn n_operations(&self) -> u64 {
        self.lock().n_operations
    }

    /// What is there when the power comes back.
    pub(crate) fn reboot(&self, mut chance: impl FnMut(usize) -> usize) -> Self {
        let disk = self.lock();
        let mut names = disk.safe_names.clone();
        let n_steps = chance(disk.unsafe_steps.len());
        disk.unsafe_steps.iter().take(n_steps).for_each(|step| step.apply(&mut names));
        let files = disk.files.iter().map(|file| {
            let n_kept = file.n_safe + chance(file.content.len() - file.n_safe);
            File { content: file.content[..n_kept].to_vec(), n_safe: n_kept }
        });
        let disk = Disk { files: files.collect(), safe_names: names.clone(), names, ..Disk::default() };
        Self(Arc::new(Mutex::new(disk)))
    }

    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        let disk = self.lock();
        disk.files[disk.names[name]].content.clone()
    }

    /// All files as they are, with another content of one of them.
    pub(crate) fn with(&self, name: &str, content: Vec<u8>) -> Arc<Self> {
        let copy = self.reboot(|n_more| n_more);
        let n_safe = content.len();
        {
            let mut disk = copy.lock();
            disk.files.push(File { content, n_safe });
            let file = disk.files.len() - 1;
            disk.names.insert(name.to_owned(), file);
            disk.safe_names.insert(name.to_owned(), file);
        }
        Arc::new(copy)
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Disk ===

impl Disk {
    fn operate(&mut self) -> io::Result<()> {
        self.n_operations += 1;
        if self.off_at.is_some_and(|off_at| self.n_operations > off_at) {
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }

    fn step(&mut self, step: Step) {
        step.apply(&mut self.names);
        self.unsafe_steps.push(step);
    }
}

impl Step {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

impl Folder for PowerFolder {
    fn prepare(&self) -> io::Result<()> {
        self.lock().operate()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        let disk = self.lock();
        let file = disk.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(disk.files[*file].content.clone())))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Output>> {
        let mut disk = self.lock();
        disk.operate()?;
        disk.files.push(File::default());
        let file = disk.files.len() - 1;
        disk.step(Step::Link(name.to_owned(), file));
        Ok(Box::new(Handle { disk: Arc::clone(&self.0), file }))
    }

    fn resume(&self, name: &str, len: u64) -> io::Result<Box<dyn Output>> {
        let mut disk = self.lock();
        disk.operate()?;
        let file = *disk.names.get(name).ok_or(ErrorKind::NotFound)?;
        disk.files[file].content.truncate(len as usize);
        // That it was cut is not on disk yet; that it was longer does no harm.
        let n_safe = disk.files[file].n_safe.min(len as usize);
        disk.files[file].n_safe = n_safe;
        Ok(Box::new(Handle { disk: Arc::clone(&self.0), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.operate()?;
        disk.step(Step::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.lock();
        disk.operate()?;
        disk.unsafe_steps.clear();
        disk.safe_names = disk.names.clone();
        Ok(())
    }

    fn touched(&self, _name: &str) -> Option<i64> {
        None
    }

    fn touch(&self, _name: &str, _unix_ms: i64) {}
}

impl Write for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        disk.operate()?;
        if disk.is_full {
            return Err(ErrorKind::StorageFull.into());
        }
        disk.files[self.file].content.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Handle {
    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        disk.operate()?;
        let file = &mut disk.files[self.file];
        file.n_safe = file.content.len();
        Ok(())
    }
}

/// Everything that a node does to its files in a long life. Stops at the first error; `told` is what was said to be safe.
fn live(files: &mut Files, history: &History, from: u64, told: &mut u64) -> io::Result<()> {
    if files.kept().is_none() {
        files.replace(super::EPOCH, from, &history.whole(from))?;
        *told = from;
    }
    let mut revision = *told;
    for round in 0..3 {
        for _ in 0..3 {
            revision += 1;
            files.append(&history.delta(revision))?;
        }
        files.sync()?;
        *told = revision;
        if round < 2 {
            let merge = files.compaction(Some(0));
            revision += 1;
            files.append(&history.delta(revision))?;
            if let Some(merge) = merge {
                let merged = merge();
                files.sync()?;
                *told = revision;
                files.adopt(merged)?;
            }
        }
    }
    revision += 1;
    files.replace(super::EPOCH, revision, &history.whole(revision))?;
    *told = revision;
    Ok(())
}

/// Whatever was not on its way to disk for certain may be gone, in part or whole: what was told to be safe never is, what is
/// read is exactly what was written, and the node goes on from there.
#[test]
fn power_loss_sim() {
    let history = History::new(Class::Identity, 40);
    let mut told = 0;
    let whole_life = Arc::new(PowerFolder::default());
    live(&mut Files::open(source(&whole_life, Class::Identity)).0, &history, 1, &mut told).expect("the power stays on");
    let n_operations = whole_life.n_operations();
    let (mut n_cases, mut word) = (0, 1_u64);
    for off_at in 0..=n_operations {
        let folder = Arc::new(PowerFolder::default());
        folder.cut_at(off_at);
        let mut told = 0;
        let (mut files, ..) = Files::open(source(&folder, Class::Identity));
        let _ = live(&mut files, &history, 1, &mut told);
        for luck in 0..12_u64 {
            let mut chance = |n_more: usize| {
                word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_add(luck);
                match luck {
                    0 => 0,
                    1 => n_more,
                    _ => (word >> 16) as usize % (n_more + 1),
                }
            };
            let rebooted = Arc::new(folder.reboot(&mut chance));
            let what = format!("power off at operation {off_at} of {n_operations}, luck {luck}");
            let (mut files, content, damage) = Files::open(source(&rebooted, Class::Identity));
            let revision = content.as_ref().map_or(0, |content| content.revision);
            assert!(revision >= told, "{what}: back to {revision} from {told}: {damage:?}");
            if let Some(content) = &content {
                history.check(content, &what);
            }
            // And on, where what is held is what was found.
            let mut told = revision;
            if files.kept().is_none() {
                files.replace(super::EPOCH, revision, &history.whole(revision)).expect("the power is back");
            }
            live(&mut files, &history, revision, &mut told).expect("the power is back");
            let (_, content, damage) = Files::open(source(&rebooted, Class::Identity));
            let content = content.expect("it is there");
            history.check(&content, &what);
            assert_eq!((content.revision, damage), (told, Vec::new()), "{what}");
            n_cases += 1;
        }
    }
    figure::note("power_loss_sim", "revisions lost that were told to be safe", 0.0, "of all cases", 0.0);
    figure::note_at_least("power_loss_sim", "crashes tried", n_cases as f64, "cases", n_cases as f64);
}
