using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>Locks that this worker holds. They go by name, because an object is another one in each worker.</summary>
public static class Locks
{
    /// <summary>What has no name shares this one.</summary>
    public const string Global = "__global__";

    private static readonly Dictionary<string, int> s_held = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>Takes a lock, or counts that it is held once more.</summary>
    public static void Enter(string name, int timeout)
    {
        if (s_held.TryGetValue(name, out int count))
        {
            s_held[name] = count + 1;
            return;
        }
        OrderedDictionary what = Ask("lock", name);
        what["timeout"] = timeout;
        Shared.BeforeAsk();
        if (!Fields.Flag((OrderedDictionary)Channel.Ask(what)!, "locked"))
        {
            throw new BridgeException("LockTimeout", $"Failed to acquire lock on object '{name}'", ErrorCategory.OperationTimeout);
        }
        s_held[name] = 1;
        Shared.AfterLock();
    }

    /// <summary>Gives a lock back; one that is not held is none to give.</summary>
    public static void Exit(string name)
    {
        if (!s_held.TryGetValue(name, out int count))
        {
            return;
        }
        if (count > 1)
        {
            s_held[name] = count - 1;
            return;
        }
        s_held.Remove(name);
        Shared.BeforeAsk();
        Channel.Ask(Ask("unlock", name));
    }

    /// <summary>The name of an object's lock, where it has one.</summary>
    public static string NameOf(object? value, string name)
    {
        if (name.Length > 0)
        {
            return name;
        }
        if (Shared.Find(value) is SharedCopy copy)
        {
            return $"__object_{copy.Id}__";
        }
        return PlainJson.Bare(value) is IDictionary table && PlainJson.Bare(table["Name"]) is string { Length: > 0 } own ? own : Global;
    }

    /// <summary>Returns once nobody holds the lock of what has no name.</summary>
    public static void WaitForGlobal(int timeout)
    {
        Enter(Global, timeout);
        Exit(Global);
    }

    /// <summary>Forgets what the core has freed: what an earlier block left behind.</summary>
    internal static void Clear() => s_held.Clear();

    private static OrderedDictionary Ask(string what, string name)
    {
        OrderedDictionary ask = PlainJson.NewObject();
        ask["do"] = what;
        ask["name"] = name;
        return ask;
    }
}
