//! What a process has in memory, as the system counts it.

/// Resident bytes of this process, or of another by its id.
pub fn resident(process: Option<u32>) -> u64 {
    read(process, "VmRSS:")
}

/// The most that was resident since [`forget_peak`], or since the process began.
pub fn peak(process: u32) -> u64 {
    read(Some(process), "VmHWM:")
}

/// Begins to look for a peak anew.
pub fn forget_peak(process: u32) -> std::io::Result<()> {
    std::fs::write(format!("/proc/{process}/clear_refs"), "5")
}

fn read(process: Option<u32>, field: &str) -> u64 {
    let path = process.map_or_else(|| "/proc/self/status".to_owned(), |id| format!("/proc/{id}/status"));
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}
