using System;
using System.Collections;
using System.Collections.Generic;
using System.Linq;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>A block of the script, compiled, with its `$using:` values.</summary>
public sealed class Block
{
    /// <summary>What runs.</summary>
    public ScriptBlock ScriptBlock { get; }

    /// <summary>Pairs of names and values; of objects that others change the latest.</summary>
    public object?[] Using => _shared.Count == 0 ? _using : [.. _using, .. _shared.Cast<DictionaryEntry>().Select(entry => new object?[] { entry.Key, Shared.Get(Convert.ToInt64(entry.Value)).Live })];

    private readonly object?[] _using;
    private readonly IDictionary _shared;

    /// <summary>A block with its values, and its shared objects by name and number.</summary>
    public Block(ScriptBlock scriptBlock, object?[]? @using, IDictionary? shared)
    {
        ScriptBlock = scriptBlock;
        _using = @using ?? [];
        _shared = shared ?? new Hashtable();
    }
}

/// <summary>The blocks that the core has sent, by their numbers.</summary>
public static class Blocks
{
    private static readonly Dictionary<long, Block> s_blocks = [];

    /// <summary>Keeps a block.</summary>
    public static void Set(long id, Block block) => s_blocks[id] = block;

    /// <summary>Forgets a block.</summary>
    public static void Remove(long id) => s_blocks.Remove(id);

    /// <summary>Forgets all.</summary>
    public static void Clear() => s_blocks.Clear();

    /// <summary>A block that was sent.</summary>
    public static Block Get(long id) =>
        s_blocks.TryGetValue(id, out Block? block) ? block : throw new BridgeException("BadCall", $"there is no block {id}", ErrorCategory.ObjectNotFound);
}
