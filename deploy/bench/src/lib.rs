//! What the benchmark's programs share: the load generator's result, its HTTP reader, process figures, scenarios, the
//! processes under test and the report. `src/bin` holds the programs; `deploy/README.md` says how they measure.

pub mod window;
pub mod reply;
pub mod procfs;
pub mod answers;
pub mod scenario;
pub mod process;
pub mod target;
pub mod run;
pub mod start;
pub mod report;
