//! Which parameters of a module are pruned.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use hashbrown::HashMap;

/// One parameter that is pruned.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Field names and list positions that lead to it.
    pub path: Vec<String>,
    /// Name, as the caller translates the module path.
    pub name: String,
    /// Number of weights.
    pub size: usize,
    /// The group whose members compete with each other, from 0.
    pub group: usize,
}

/// The groups of a module's parameters that are pruned.
pub(super) type Groups = HashMap<ParamId, usize>;

/// The prunable parameters, in the module's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    members: Vec<Member>,
}

impl Scope {
    /// Visits `module` and takes the parameters for which `name_of` gives a name. It is handed the
    /// path of field names and list positions that leads to the parameter.
    pub fn new<B: Backend, M: Module<B>>(
        module: &M,
        name_of: impl Fn(&[String]) -> Option<String>,
    ) -> Self {
        let mut members = Vec::new();
        walk(module, |path, _, size| {
            let member = |name| Member { path: path.to_vec(), name, size, group: 0 };
            members.extend(name_of(path).map(member));
        });
        Self { members }
    }

    /// The same parameters, each in the group that `group_of` gives for its name. At first all are in
    /// group 0.
    #[must_use]
    pub fn in_groups(mut self, group_of: impl Fn(&str) -> usize) -> Self {
        for member in &mut self.members {
            member.group = group_of(&member.name);
        }
        self
    }

    /// The same parameters as seen from a module that holds this one in its field `field`.
    #[must_use]
    pub fn within(mut self, field: &str) -> Self {
        for member in &mut self.members {
            member.path.insert(0, field.to_string());
        }
        self
    }

    /// The parameters, in the module's order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Number of prunable weights N.
    pub fn size(&self) -> usize {
        self.members.iter().map(|m| m.size).sum()
    }

    /// Number of prunable weights of each of the first `groups` groups.
    pub fn sizes(&self, groups: usize) -> Vec<usize> {
        let size = |group| self.members.iter().filter(|m| m.group == group).map(|m| m.size).sum();
        (0..groups).map(size).collect()
    }

    /// The identities of these parameters in `module`, with their groups. They hold until another
    /// checkpoint is loaded into it, which brings its own.
    pub(super) fn groups<B: Backend, M: Module<B>>(&self, module: &M) -> Groups {
        let of_path: HashMap<&[String], usize> =
            self.members.iter().map(|m| (m.path.as_slice(), m.group)).collect();
        let mut groups = Groups::with_capacity(of_path.len());
        walk(module, |path, id, _| {
            if let Some(group) = of_path.get(path) {
                groups.insert(id, *group);
            }
        });
        groups
    }
}

/// The ratio over all groups together, of `sizes` weights, where the group n has the ratio
/// `ratios[n]`.
pub fn overall_ratio(sizes: &[usize], ratios: &[f64]) -> f64 {
    if let [ratio] = ratios {
        return *ratio;
    }
    let all: usize = sizes.iter().sum();
    let kept: f64 = sizes.iter().zip(ratios).map(|(size, ratio)| *size as f64 * ratio).sum();
    kept / all.max(1) as f64
}

/// Calls `each` with path, identity and size of every parameter of `module`, in its order.
fn walk<B: Backend, M: Module<B>>(module: &M, each: impl FnMut(&[String], ParamId, usize)) {
    module.visit(&mut Walk { path: Vec::new(), each });
}

struct Walk<F> {
    path: Vec<String>,
    each: F,
}

impl<B: Backend, F: FnMut(&[String], ParamId, usize)> ModuleVisitor<B> for Walk<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        (self.each)(&self.path, param.id, param.lazy_shape().num_elements());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overall_ratio_weighs_groups_by_their_sizes() {
        assert_eq!(overall_ratio(&[7], &[0.2]), 0.2);
        assert_eq!(overall_ratio(&[30, 10], &[0.2, 0.6]), (6.0 + 6.0) / 40.0);
        assert_eq!(overall_ratio(&[0, 10], &[0.2, 0.5]), 0.5);
        assert_eq!(overall_ratio(&[0, 0], &[0.2, 0.5]), 0.0);
    }
}
