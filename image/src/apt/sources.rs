//! From where packages come: the host's own package sources, turned to the release that we build
//! with. A machine behind a mirror thus uses its mirror, and no address is written down in here.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result, bail};

/// The Debian release whose packages are unpacked and imaged, whatever the host's own is.
pub const RELEASE: &str = "trixie";

/// One source of packages: a URI, a suite of it, and the keys that sign it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    uri: String,
    suite: String,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// What the name of the suite with newer packages for the same release ends with.
pub const BACKPORTS: &str = "-backports";

/// The sources file, in deb822 form, for [`RELEASE`] by way of the host's own sources; with a further suite of the same archive,
/// such as [`BACKPORTS`], where `more` is not empty. A host has that one seldom among its own.
pub fn for_release(etc_apt: &Path, os_release: &str, more: &str) -> Result<String> {
    let codename = codename(os_release)?;
    let sources = read_all(etc_apt)?;
    let named = |suffix: &str| {
        let wanted = [codename.as_str(), "stable", "oldstable", RELEASE]
            .map(|name| format!("{name}{suffix}"));
        sources.iter().find(|source| {
            wanted.contains(&source.suite)
                && source
                    .components
                    .iter()
                    .any(|component| component == "main")
        })
    };
    let Some(main) = named("") else {
        bail!(
            "no Debian archive among the package sources in {}: wanted suite {codename}, component main. \
             The image is built of Debian's packages, from wherever this machine gets its own",
            etc_apt.display()
        );
    };
    let mut text = String::new();
    for (suffix, source) in [
        ("", Some(main)),
        ("-updates", named("-updates")),
        ("-security", named("-security")),
        (
            more,
            Some(named(more).unwrap_or(main)).filter(|_| !more.is_empty()),
        ),
    ] {
        let Some(source) = source else { continue };
        let uri = mirror(&source.uri)?;
        writeln!(
            text,
            "Types: deb\nURIs: {uri}\nSuites: {RELEASE}{suffix}\nComponents: main"
        )?;
        if let Some(keys) = &source.signed_by {
            writeln!(text, "Signed-By:{keys}")?;
        }
        writeln!(text)?;
    }
    Ok(text)
}

/// The same sources, signed by Debian's keyring where the tree of tools has it: inside of the image
/// builder's sandbox the host's keyrings are out of sight. A key within the text stays.
pub fn with_keyring(sources: &str) -> String {
    let mut text = String::new();
    for stanza in sources
        .split("\n\n")
        .filter(|stanza| !stanza.trim().is_empty())
    {
        let inline = stanza.lines().any(|line| line.starts_with([' ', '\t']));
        for line in stanza
            .lines()
            .filter(|line| inline || !line.starts_with("Signed-By:"))
        {
            text.push_str(line);
            text.push('\n');
        }
        if !inline {
            text.push_str("Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n");
        }
        text.push('\n');
    }
    text
}

/// `VERSION_CODENAME` of an os-release file.
fn codename(os_release: &str) -> Result<String> {
    let field = os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name =
        field.context("os-release has no VERSION_CODENAME: the build wants a Debian host")?;
    Ok(name.trim_matches('"').to_owned())
}

/// Cloud images name a file of mirrors (`mirror+file:/etc/apt/mirrors/debian.list`); its first
/// mirror is taken, because the file is not there inside the sandbox of the image builder.
fn mirror(uri: &str) -> Result<String> {
    let Some(path) = uri.strip_prefix("mirror+file:") else {
        return Ok(uri.to_owned());
    };
    let text =
        fs::read_to_string(path).with_context(|| format!("read the list of mirrors {path}"))?;
    let first = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    let first = first.and_then(|line| line.split_whitespace().next());
    Ok(first
        .with_context(|| format!("{path} names no mirror"))?
        .to_owned())
}

fn read_all(etc_apt: &Path) -> Result<Vec<Source>> {
    let mut files = vec![etc_apt.join("sources.list")];
    let parts = etc_apt.join("sources.list.d");
    if let Ok(entries) = fs::read_dir(&parts) {
        let mut found: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        found.sort();
        files.extend(found);
    }
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(text.lines().filter_map(one_line)),
            Some("sources") => sources.extend(text.split("\n\n").flat_map(stanza)),
            _ => {}
        }
    }
    Ok(sources)
}

/// `deb [signed-by=/path arch=amd64] http://host/debian bookworm main contrib`
fn one_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    let rest = rest.split('#').next()?;
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        uri: words.next()?,
        suite: words.next()?,
        components: words.collect(),
        signed_by: signed_by.map(|path| format!(" {path}")),
    })
}

/// One deb822 stanza; every pair of its URIs and suites is a source of its own.
fn stanza(text: &str) -> Vec<Source> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with([' ', '\t']) {
            // A continuation, such as the lines of a key that stands in the file itself.
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }
    let field = |name: &str| {
        fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    };
    let words = |name: &str| {
        field(name)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
    };
    let disabled = field("enabled").is_some_and(|value| value.trim().eq_ignore_ascii_case("no"));
    if disabled || !words("types").any(|kind| kind == "deb") {
        return Vec::new();
    }
    let pairs =
        words("uris").flat_map(|uri| words("suites").map(move |suite| (uri.clone(), suite)));
    let source = |(uri, suite)| Source {
        uri,
        suite,
        components: words("components").collect(),
        signed_by: field("signed-by").map(str::to_owned),
    };
    pairs.map(source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOKWORM: &str = "ID=debian\nVERSION_CODENAME=bookworm\n";

    fn generated(files: &[(&str, &str)]) -> Result<String> {
        generated_with(files, "")
    }

    fn generated_with(files: &[(&str, &str)], more: &str) -> Result<String> {
        let dir = std::env::temp_dir().join(format!(
            "orthrus-sources-{}-{}{more}",
            std::process::id(),
            files[0].1.len()
        ));
        fs::create_dir_all(dir.join("sources.list.d"))?;
        for (name, text) in files {
            fs::write(dir.join(name), text)?;
        }
        let result = for_release(&dir, BOOKWORM, more);
        fs::remove_dir_all(&dir)?;
        result
    }

    #[test]
    fn stanzas_of_the_host_are_turned_to_the_release() {
        let text = generated(&[(
            "sources.list.d/debian.sources",
            "Types: deb\n# a comment\nURIs: http://m.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\
             Signed-By: /k.gpg\n\nTypes: deb\nURIs: http://s.example/sec\nSuites: bookworm-security\nComponents: main\n",
        )])
        .unwrap();
        assert_eq!(
            text,
            "Types: deb\nURIs: http://m.example/debian\nSuites: trixie\nComponents: main\nSigned-By: /k.gpg\n\n\
             Types: deb\nURIs: http://m.example/debian\nSuites: trixie-updates\nComponents: main\nSigned-By: /k.gpg\n\n\
             Types: deb\nURIs: http://s.example/sec\nSuites: trixie-security\nComponents: main\n\n"
        );
    }

    #[test]
    fn one_line_sources_are_understood() {
        let text = generated(&[(
            "sources.list",
            "# deb http://no.example/debian bookworm main\ndeb-src http://no.example/debian bookworm main\n\
             deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian bookworm main contrib # here\n",
        )])
        .unwrap();
        assert_eq!(
            text,
            "Types: deb\nURIs: http://m.example/debian\nSuites: trixie\nComponents: main\nSigned-By: /k.gpg\n\n"
        );
    }

    #[test]
    fn backports_come_from_the_archive_of_the_release_unless_the_host_has_its_own() {
        let main = "deb http://m.example/debian bookworm main\n";
        let own = format!("{main}deb http://b.example/debian bookworm-backports main\n");
        for (text, host) in [(main, "m"), (&own, "b")] {
            let text = generated_with(&[("sources.list", text)], BACKPORTS).unwrap();
            let stanza = format!(
                "Types: deb\nURIs: http://{host}.example/debian\nSuites: trixie-backports\nComponents: main\n\n"
            );
            assert!(text.ends_with(&stanza), "{text}");
        }
    }

    #[test]
    fn a_host_without_a_debian_archive_is_refused() {
        let error =
            generated(&[("sources.list", "deb http://m.example/other focal main\n")]).unwrap_err();
        assert!(error.to_string().contains("no Debian archive"), "{error}");
    }
}
