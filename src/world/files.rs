//! Files that the first rank has and the others need.

use std::path::{Path, PathBuf};

use super::World;
use super::word::At;
use crate::error::{Error, Result};
use crate::files::create;

impl World {
    /// Gives the others the first rank's files `names`, which lie in its `folder`; they write them
    /// to theirs. The first rank alone says which.
    ///
    /// # Errors
    /// One cannot be read or written, or a rank has failed or is lost.
    pub fn share_files(&self, folder: &Path, names: &[PathBuf]) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let within = |path: &PathBuf| path.strip_prefix(folder).map(Path::to_path_buf).ok();
        let mine: Vec<PathBuf> = match self.is_first() {
            true => names.iter().filter_map(within).collect(),
            false => Vec::new(),
        };
        let names = self.gather(At::File, &mine)?.into_iter().next().unwrap_or_default();
        for name in names {
            let path = folder.join(&name);
            let read = || match self.is_first() {
                true => std::fs::read(&path).map_err(|e| Error::io(&path, "read", e)),
                false => Ok(Vec::new()),
            };
            let bytes = self.agree(At::File, read())?;
            let bytes = self.broadcast(bytes)?;
            let written = if self.is_first() { Ok(()) } else { write(&path, &bytes) };
            self.agree(At::File, written)?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e| Error::io(path, "write", e);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut file = create(path).map_err(failed)?;
    std::io::Write::write_all(&mut file, bytes).map_err(failed)
}
