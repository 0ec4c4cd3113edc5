using System.Collections.Generic;
using System.Collections.Specialized;
using System.Linq;
using System.Text.Json;

namespace SecretBridge.Pode;

/// <summary>Two changes of one version of a shared object, as texts (<see cref="SharedText"/>).</summary>
public static class SharedMerge
{
    /// <summary>The text that holds both changes: ours, and another's. Where both changed the same, ours stands.</summary>
    public static string Merge(string from, string ours, string theirs)
    {
        if (ours == from || ours == theirs)
        {
            return theirs;
        }
        if (theirs == from)
        {
            return ours;
        }
        // References count the containers before them, which a merge would change.
        if (HasReference(from) || HasReference(ours) || HasReference(theirs))
        {
            return ours;
        }
        JsonDocumentOptions options = new() { MaxDepth = 200 };
        using JsonDocument first = JsonDocument.Parse(from, options);
        using JsonDocument second = JsonDocument.Parse(ours, options);
        using JsonDocument third = JsonDocument.Parse(theirs, options);
        JsonElement[] nodes = [first.RootElement, second.RootElement, third.RootElement];
        if (nodes.Any(node => node.ValueKind != JsonValueKind.Array))
        {
            return ours;
        }
        string?[] kinds = nodes.Select(node => node[0].GetString()).Distinct().ToArray();
        return kinds switch
        {
            [SharedKinds.List] => MergeLists(nodes, ours),
            [SharedKinds.Table or SharedKinds.Custom] => MergeTables(nodes),
            _ => ours,
        };
    }

    private static bool HasReference(string text) => text.Contains("[\"ref\",", System.StringComparison.Ordinal);

    // What both have added to a list is in it.
    private static string MergeLists(JsonElement[] nodes, string ours)
    {
        string[][] lists = nodes.Select(node => node.EnumerateArray().Skip(2).Select(item => item.GetRawText()).ToArray()).ToArray();
        (string[] was, string[] mine, string[] theirs) = (lists[0], lists[1], lists[2]);
        if (!mine.Take(was.Length).SequenceEqual(was) || !theirs.Take(was.Length).SequenceEqual(was))
        {
            return ours;
        }
        return Join([.. Head(nodes[1]), .. theirs, .. mine.Skip(was.Length)]);
    }

    // Each member by itself.
    private static string MergeTables(JsonElement[] nodes)
    {
        OrderedDictionary was = Members(nodes[0]), mine = Members(nodes[1]), theirs = Members(nodes[2]);
        List<string> parts = [.. Head(nodes[1])];
        foreach (string key in theirs.Keys.Cast<string>().Concat(mine.Keys.Cast<string>().Where(key => !theirs.Contains(key))))
        {
            string? before = (string?)was[key], ours = (string?)mine[key], other = (string?)theirs[key];
            string? merged = ours == before ? other
                : other == before || before is null || ours is null || other is null ? ours
                : Merge(before, ours, other);
            if (merged is not null)
            {
                parts.Add(key);
                parts.Add(merged);
            }
        }
        return Join(parts);
    }

    private static IEnumerable<string> Head(JsonElement node) => [node[0].GetRawText(), node[1].GetRawText()];

    private static OrderedDictionary Members(JsonElement node)
    {
        OrderedDictionary members = PlainJson.NewObject();
        for (int i = 2; i < node.GetArrayLength(); i += 2)
        {
            members[node[i].GetRawText()] = node[i + 1].GetRawText();
        }
        return members;
    }

    private static string Join(IEnumerable<string> parts) => $"[{string.Join(',', parts)}]";
}
