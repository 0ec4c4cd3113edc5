using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Linq;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>This process's copy of an object that blocks share; always the same object, so that whoever holds it sees what others changed.</summary>
public sealed class SharedCopy
{
    /// <summary>The object's number.</summary>
    public required long Id { get; init; }

    /// <summary>The object.</summary>
    public object? Live { get; set; }

    /// <summary>Its text, as the core has it or is being told.</summary>
    public string Text { get; internal set; } = "";

    /// <summary>The version of that text.</summary>
    public long Version { get; internal set; }

    /// <summary>What in it cannot travel.</summary>
    public string[] Stays { get; set; } = [];

    // The text of the version before.
    internal string Before { get; set; } = "";
}

/// <summary>
/// Objects that the script's blocks share: the tables of custom vaults, what `$using:` and `$state:` hold. The core keeps the one
/// that counts, with the number of its version; here is a copy of each that this process has met. The core hears of changes before
/// it is asked anything and at the end of a request, and copies are made new once a lock is had.
/// </summary>
public static class Shared
{
    private static readonly Dictionary<long, SharedCopy> s_copies = [];

    // Copies that the running request holds.
    private static readonly HashSet<long> s_held = [];

    // The tables of the vaults whose blocks it is in, innermost last; they are told with those blocks' answers.
    private static readonly List<long> s_inUse = [];

    /// <summary>Asks the core, which first hears what was changed.</summary>
    public static OrderedDictionary Ask(OrderedDictionary what)
    {
        BeforeAsk();
        return Channel.Ask(what) as OrderedDictionary ?? PlainJson.NewObject();
    }

    /// <summary>Tells the core what was changed.</summary>
    public static void BeforeAsk()
    {
        if (s_held.Count > 0)
        {
            Send();
        }
    }

    /// <summary>Brings the copies up to date.</summary>
    internal static void AfterLock()
    {
        if (s_held.Count == 0)
        {
            return;
        }
        Send();
        foreach (long id in s_held.Where(id => s_copies.ContainsKey(id) && !s_inUse.Contains(id)).ToArray())
        {
            Receive(Ask(NewAsk("shared-get", id)));
        }
    }

    /// <summary>Tells the core what was changed, and lets go of the copies.</summary>
    public static void AtEnd()
    {
        if (s_held.Count > 0)
        {
            Send();
            s_held.Clear();
        }
    }

    /// <summary>What is done to a copy from now on is told.</summary>
    public static void Hold(long id) => s_held.Add(id);

    /// <summary>Forgets all: script mode begins.</summary>
    public static void Clear()
    {
        s_copies.Clear();
        s_held.Clear();
        s_inUse.Clear();
    }

    /// <summary>Forgets a copy.</summary>
    public static void Forget(long id) => s_copies.Remove(id);

    /// <summary>A vault's block begins, whose table this is.</summary>
    internal static void Enter(long id) => s_inUse.Add(id);

    /// <summary>The innermost of those blocks has ended.</summary>
    internal static void Leave() => s_inUse.RemoveAt(s_inUse.Count - 1);

    /// <summary>The copy that is this very object.</summary>
    public static SharedCopy? Find(object? value)
    {
        object? bare = PlainJson.Bare(value);
        return bare is null or string or ValueType ? null : s_copies.Values.FirstOrDefault(copy => ReferenceEquals(PlainJson.Bare(copy.Live), bare));
    }

    /// <summary>The latest of a shared object, held from now on by what runs here.</summary>
    public static SharedCopy Get(long id)
    {
        SharedCopy copy = Receive(Ask(NewAsk("shared-get", id)));
        if (!s_inUse.Contains(id))
        {
            s_held.Add(id);
        }
        return copy;
    }

    /// <summary>Gives an object of the planning script, or of a route, a number of its own, and the same if it has one.</summary>
    public static SharedCopy Add(object value, SharedText text)
    {
        if (Find(value) is SharedCopy known)
        {
            // From now on it is there for good.
            if (Convert.ToInt64(Ask(NewAsk("shared-add", known.Id))["id"]) == known.Id)
            {
                s_held.Add(known.Id);
                return known;
            }
            s_copies.Remove(known.Id);
        }
        OrderedDictionary what = PlainJson.NewObject();
        what["do"] = "shared-add";
        what["value"] = text.Text;
        OrderedDictionary answer = Ask(what);
        return Keep(Convert.ToInt64(answer["id"]), value, text.Text, Convert.ToInt64(answer["version"]));
    }

    /// <summary>An object of this process as the copy of the core's.</summary>
    internal static SharedCopy Keep(long id, object value, string text, long version)
    {
        s_held.Add(id);
        return s_copies[id] = new SharedCopy { Id = id, Live = value, Text = text, Before = text, Version = version };
    }

    /// <summary>
    /// Takes over what the core gives: the copy of that object, made new where it was old. What was changed in it and not yet told is
    /// kept.
    /// </summary>
    public static SharedCopy Receive(IDictionary given)
    {
        long id = Convert.ToInt64(given["id"]), version = Convert.ToInt64(given["version"]);
        s_copies.TryGetValue(id, out SharedCopy? copy);
        if (PlainJson.Bare(given["value"]) is string text)
        {
            if (copy is null)
            {
                s_copies[id] = copy = new SharedCopy { Id = id, Live = SharedReader.Read(text, null), Before = text };
            }
            else
            {
                copy.Live = SharedReader.Read(SharedMerge.Merge(copy.Text, SharedText.Of(copy.Live).Text, text), copy.Live);
            }
            copy.Text = text;
            copy.Version = version;
        }
        return copy is not null && copy.Version == version
            ? copy
            : throw new BridgeException("BadCall", $"there is no copy of the shared object {id}", ErrorCategory.ObjectNotFound);
    }

    /// <summary>
    /// What to tell the core of a copy that has this text now; null if it is as it was. From then on that is its next version, unless
    /// the core says that another was faster.
    /// </summary>
    internal static OrderedDictionary? Change(SharedCopy copy, string now)
    {
        if (now == copy.Text)
        {
            return null;
        }
        copy.Before = copy.Text;
        copy.Text = now;
        return Told(copy);
    }

    /// <summary>Another was faster: the copy gets both changes, and what is then to tell is given.</summary>
    public static OrderedDictionary MergeChange(IDictionary given)
    {
        if (!s_copies.TryGetValue(Convert.ToInt64(given["id"]), out SharedCopy? copy))
        {
            throw new BridgeException("BadCall", $"there is no copy of the shared object {given["id"]}", ErrorCategory.ObjectNotFound);
        }
        copy.Text = copy.Before;
        Receive(given);
        string now = SharedText.Of(copy.Live).Text;
        if (Change(copy, now) is OrderedDictionary change)
        {
            return change;
        }
        copy.Before = copy.Text;
        return Told(copy);
    }

    private static OrderedDictionary Told(SharedCopy copy)
    {
        OrderedDictionary change = PlainJson.NewObject();
        change["id"] = copy.Id;
        change["version"] = copy.Version++;
        change["value"] = copy.Text;
        return change;
    }

    private static void Send()
    {
        // A copy: what is asked meanwhile may take more of them.
        foreach (long id in s_held.ToArray())
        {
            if (!s_copies.TryGetValue(id, out SharedCopy? copy) || s_inUse.Contains(id))
            {
                continue;
            }
            OrderedDictionary? change = Change(copy, SharedText.Of(copy.Live).Text);
            while (change is not null)
            {
                change = Tell(change);
            }
        }
    }

    // Tells one change; what is to tell after it, where another was faster.
    private static OrderedDictionary? Tell(OrderedDictionary change)
    {
        OrderedDictionary what = PlainJson.NewObject();
        what["do"] = "shared-set";
        foreach (DictionaryEntry entry in change)
        {
            what[entry.Key] = entry.Value;
        }
        IDictionary? answer;
        try
        {
            answer = PlainJson.Bare(Channel.Ask(what)) as IDictionary;
        }
        catch (RuntimeException exception) when (exception is not PipelineStoppedException)
        {
            // Its vault is gone, and nobody will look at it again.
            s_copies.Remove(Convert.ToInt64(change["id"]));
            return null;
        }
        return answer?["value"] is null ? null : MergeChange(answer);
    }

    private static OrderedDictionary NewAsk(string name, long id)
    {
        OrderedDictionary what = PlainJson.NewObject();
        what["do"] = name;
        what["id"] = id;
        return what;
    }
}
