"""Rules whose outputs have a shape that a genrule cannot declare."""

def _tree_impl(ctx):
    tree = ctx.actions.declare_directory(ctx.label.name)
    ctx.actions.run_shell(
        outputs = [tree],
        arguments = [tree.path],
        command = ctx.attr.command,
        mnemonic = "Tree",
        progress_message = "Growing %s" % ctx.label,
    )
    return [DefaultInfo(files = depset([tree]), runfiles = ctx.runfiles([tree]))]

tree = rule(
    doc = "A tree artifact: `command` fills the directory named by its first argument.",
    implementation = _tree_impl,
    attrs = {"command": attr.string(mandatory = True)},
)

def _link_impl(ctx):
    link = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = link, target_file = ctx.file.to)
    return [DefaultInfo(files = depset([link]))]

link = rule(
    doc = "A file output that is a symlink to another output.",
    implementation = _link_impl,
    attrs = {"to": attr.label(allow_single_file = True, mandatory = True)},
)
