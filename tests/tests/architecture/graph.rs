//! The dependency graph as `cargo metadata` resolves it, for every platform and
//! with every feature. Owns reading it and finding paths in it; judges nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use bastide_tests::workspace_root;
use serde_json::Value;

/// Why one package depends on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// It is linked.
    Normal,
    /// Its build script uses it.
    Build,
    /// Its tests use it.
    Dev,
}

/// A dependency as the manifest writes it.
#[derive(Debug)]
pub(crate) struct Declared {
    /// The package's own name.
    pub(crate) name: String,
    /// The name that the manifest gives it.
    pub(crate) rename: Option<String>,
    pub(crate) kind: Kind,
    /// Whether it is for wasm32 without an operating system and nothing else.
    pub(crate) wasm32_alone: bool,
}

#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) manifest: PathBuf,
    pub(crate) member: bool,
    pub(crate) edition: String,
    pub(crate) licence: String,
    pub(crate) published: bool,
    pub(crate) declared: Vec<Declared>,
    /// Resolved dependencies: package id and why.
    edges: Vec<(String, BTreeSet<Kind>)>,
}

/// All packages, by id.
#[derive(Debug)]
pub(crate) struct Graph {
    packages: BTreeMap<String, Package>,
}

impl Graph {
    /// Of this workspace; read once a process.
    pub(crate) fn read() -> &'static Self {
        static GRAPH: OnceLock<Graph> = OnceLock::new();
        GRAPH.get_or_init(|| Self::parse(&metadata()))
    }

    fn parse(metadata: &Value) -> Self {
        let members: BTreeSet<&str> = list(&metadata["workspace_members"]).iter().map(text).collect();
        let mut packages: BTreeMap<String, Package> = list(&metadata["packages"])
            .iter()
            .map(|package| {
                let id = text(&package["id"]);
                (id.to_owned(), read_package(package, members.contains(id)))
            })
            .collect();
        for node in list(&metadata["resolve"]["nodes"]) {
            let edges = list(&node["deps"]).iter().map(|dependency| {
                let kinds = list(&dependency["dep_kinds"])
                    .iter()
                    .map(|kind| read_kind(&kind["kind"]));
                (text(&dependency["pkg"]).to_owned(), kinds.collect())
            });
            packages
                .get_mut(text(&node["id"]))
                .expect("a resolved package is listed")
                .edges = edges.collect();
        }
        Self { packages }
    }

    pub(crate) fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// Crates of this workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages().filter(|package| package.member)
    }

    /// Resolved dependencies of a package, and why.
    pub(crate) fn dependencies<'g>(
        &'g self,
        package: &'g Package,
    ) -> impl Iterator<Item = (&'g Package, &'g BTreeSet<Kind>)> {
        package
            .edges
            .iter()
            .map(|(id, kinds)| (&self.packages[id], kinds))
    }

    /// Everything that is linked into `member`, itself included, each with a
    /// shortest path to it: `a → b → c`.
    ///
    /// # Panics
    /// If the workspace has no such crate.
    pub(crate) fn linked_into(&self, member: &str) -> Vec<(&Package, String)> {
        let (root, package) = self
            .packages
            .iter()
            .find(|(_, package)| package.member && package.name == member)
            .unwrap_or_else(|| panic!("the workspace has no crate `{member}`"));
        let mut found = vec![(package, member.to_owned())];
        let mut seen = BTreeSet::from([root.as_str()]);
        let mut queue = VecDeque::from([(package, member.to_owned())]);
        while let Some((package, path)) = queue.pop_front() {
            for (id, kinds) in &package.edges {
                if kinds.contains(&Kind::Normal) && seen.insert(id) {
                    let next = &self.packages[id];
                    let path = format!("{path} → {} {}", next.name, next.version);
                    found.push((next, path.clone()));
                    queue.push_back((next, path));
                }
            }
        }
        found
    }

    /// Paths from `member` to every linked package whose name `forbidden` has.
    /// A name that ends in `*` stands for all that begin so.
    pub(crate) fn paths_to(&self, member: &str, forbidden: &[&str]) -> Vec<String> {
        let linked = self.linked_into(member);
        let hits = linked
            .into_iter()
            .filter(|(package, _)| matches(&package.name, forbidden));
        hits.map(|(_, path)| path).collect()
    }
}

/// Whether one of `patterns` is `name`, or its beginning and a `*`.
pub(crate) fn matches(name: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *pattern,
    })
}

/// Runs `cargo` in the workspace and gives its stdout.
pub(crate) fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(workspace_root())
        .args(arguments)
        .output()
        .expect("cargo can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {}: {stderr}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

fn metadata() -> Value {
    let text = cargo(&["metadata", "--format-version", "1", "--locked", "--all-features"]);
    serde_json::from_str(&text).expect("cargo metadata prints JSON")
}

fn read_package(package: &Value, member: bool) -> Package {
    let declared = list(&package["dependencies"]).iter().map(|dependency| Declared {
        name: text(&dependency["name"]).to_owned(),
        rename: dependency["rename"].as_str().map(str::to_owned),
        kind: read_kind(&dependency["kind"]),
        wasm32_alone: dependency["target"].as_str()
            == Some("cfg(all(target_arch = \"wasm32\", target_os = \"unknown\"))"),
    });
    Package {
        name: text(&package["name"]).to_owned(),
        version: text(&package["version"]).to_owned(),
        manifest: text(&package["manifest_path"]).into(),
        member,
        edition: text(&package["edition"]).to_owned(),
        licence: package["license"].as_str().unwrap_or_default().to_owned(),
        published: package["publish"]
            .as_array()
            .is_none_or(|registries| !registries.is_empty()),
        declared: declared.collect(),
        edges: Vec::new(),
    }
}

fn read_kind(kind: &Value) -> Kind {
    match kind.as_str() {
        None => Kind::Normal,
        Some("build") => Kind::Build,
        Some("dev") => Kind::Dev,
        Some(other) => panic!("cargo metadata has a new kind of dependency: `{other}`"),
    }
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .map(Vec::as_slice)
        .expect("cargo metadata has a list here")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo metadata has a text here")
}
