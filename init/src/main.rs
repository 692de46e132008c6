//! `/init` of a head: PID 1, and the only program in the firmware.

fn main() {
    let Err(error) = orthrus_init::boot::run();
    // There may be no log and no console of ours yet; the kernel's own is all that is left. When this
    // process ends the kernel panics, and `panic=` restarts the machine.
    eprintln!("orthrus: cannot boot: {error}");
    std::process::exit(1);
}
