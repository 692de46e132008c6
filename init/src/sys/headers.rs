//! Tests only: asks the host's C compiler what the kernel's headers say, so that our copies of their
//! structures are held against the originals and not against our memory of them.

use std::process::Command;

/// The values of integer C expressions (`sizeof(..)`, `offsetof(..)`, constants) under `includes`.
///
/// `None`, with the reason printed, on a machine that has no C compiler or not these headers.
pub fn evaluate(includes: &[&str], expressions: &[&str]) -> Option<Vec<u64>> {
    let mut source = String::from("#include <stddef.h>\n#include <stdio.h>\n");
    for include in includes {
        source.push_str(&format!("#include <{include}>\n"));
    }
    source.push_str("int main(void) {\n");
    for expression in expressions {
        source.push_str(&format!(
            "printf(\"%llu\\n\", (unsigned long long)({expression}));\n"
        ));
    }
    source.push_str("return 0; }\n");

    let directory = tempfile::TempDir::new().unwrap();
    let (c, program) = ["layout.c", "layout"]
        .map(|name| directory.path().join(name))
        .into();
    std::fs::write(&c, source).unwrap();
    let compiled = Command::new("cc").arg("-o").arg(&program).arg(&c).output();
    match compiled {
        Err(error) => {
            eprintln!("SKIPPED: layouts not checked, no C compiler: {error}");
            None
        }
        Ok(output) if !output.status.success() => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            eprintln!("SKIPPED: layouts not checked, {includes:?} do not compile: {complaint}");
            None
        }
        Ok(_) => {
            let printed = Command::new(&program).output().unwrap().stdout;
            let text = String::from_utf8(printed).unwrap();
            Some(text.lines().map(|line| line.parse().unwrap()).collect())
        }
    }
}
