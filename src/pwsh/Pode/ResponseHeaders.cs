using System;
using System.Collections;
using System.Linq;

namespace SecretBridge.Pode;

/// <summary>The response's headers as Pode's scripts know them: an index, and the methods Add, Set and Get.</summary>
public sealed class ResponseHeaders : Hashtable
{
    /// <summary>None yet; names go without case.</summary>
    public ResponseHeaders()
        : base(StringComparer.OrdinalIgnoreCase)
    {
    }

    /// <summary>Adds a value, beside others of its name.</summary>
    public override void Add(object key, object? value) => this[key] = ContainsKey(key) ? Get(key).Append(value).ToArray() : value;

    /// <summary>Sets a value, in place of others.</summary>
    public void Set(object key, object? value) => this[key] = value;

    /// <summary>All values of a name.</summary>
    public object?[] Get(object key) => PlainJson.Bare(this[key]) switch
    {
        null => [null],
        object?[] list => list,
        object one => [one],
    };
}
