using System;
using System.Collections;
using System.Collections.Specialized;
using System.Globalization;
using System.Management.Automation;
using System.Text;

namespace SecretBridge.Pode;

/// <summary>Values as JSON, by the rules in docs/script-protocol.md, *JSON text*.</summary>
public static class ResponseJson
{
    private const int Deepest = 100;

    private static readonly System.Buffers.SearchValues<char> Special = System.Buffers.SearchValues.Create(
        "\"\\\0\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f\u0085\u2028\u2029");

    /// <summary>ConvertTo-Json, for what is no plain value: the value, the depth, and whether it is compressed.</summary>
    public static Func<object?, int, bool, object?>? Convert { get; set; }

    /// <summary>A value as text.</summary>
    public static string Write(object? value, int depth, bool compress)
    {
        if (compress)
        {
            StringBuilder text = new();
            if (Add(text, value, depth))
            {
                return text.ToString();
            }
        }
        object? keyed = HasTextKeys(value, 0) ? value : WithTextKeys(value, 0);
        return PlainJson.Text(Convert?.Invoke(keyed, depth, compress));
    }

    // Writes plain values; false where a value is none of those, or too deep.
    private static bool Add(StringBuilder to, object? value, int depth)
    {
        switch (PlainJson.Bare(value))
        {
            case null:
                to.Append("null");
                return true;
            case string text:
                AddText(to, text);
                return true;
            case bool flag:
                to.Append(flag ? "true" : "false");
                return true;
            case int number:
                to.Append(CultureInfo.InvariantCulture, $"{number}");
                return true;
            case long number:
                to.Append(CultureInfo.InvariantCulture, $"{number}");
                return true;
            case IDictionary members when depth >= 0:
                return AddMembers(to, members, depth);
            case object?[] items when depth >= 0:
                return AddItems(to, items, depth);
            default:
                return false;
        }
    }

    private static bool AddMembers(StringBuilder to, IDictionary members, int depth)
    {
        to.Append('{');
        bool first = true;
        foreach (DictionaryEntry entry in members)
        {
            if (!first)
            {
                to.Append(',');
            }
            first = false;
            AddText(to, PlainJson.Text(entry.Key));
            to.Append(':');
            if (!Add(to, entry.Value, depth - 1))
            {
                return false;
            }
        }
        to.Append('}');
        return true;
    }

    private static bool AddItems(StringBuilder to, object?[] items, int depth)
    {
        to.Append('[');
        for (int i = 0; i < items.Length; i++)
        {
            if (i > 0)
            {
                to.Append(',');
            }
            if (!Add(to, items[i], depth - 1))
            {
                return false;
            }
        }
        to.Append(']');
        return true;
    }

    private static void AddText(StringBuilder to, string text)
    {
        to.Append('"');
        ReadOnlySpan<char> rest = text;
        while (rest.IndexOfAny(Special) is int at && at >= 0)
        {
            to.Append(rest[..at]);
            char special = rest[at];
            _ = special switch
            {
                '"' => to.Append("\\\""),
                '\\' => to.Append("\\\\"),
                '\n' => to.Append("\\n"),
                '\r' => to.Append("\\r"),
                '\t' => to.Append("\\t"),
                '\b' => to.Append("\\b"),
                '\f' => to.Append("\\f"),
                _ => to.Append(CultureInfo.InvariantCulture, $"\\u{(int)special:x4}"),
            };
            rest = rest[(at + 1)..];
        }
        to.Append(rest).Append('"');
    }

    // Keys that are no strings would stop ConvertTo-Json.
    private static bool HasTextKeys(object? value, int level)
    {
        if (level > Deepest)
        {
            return true;
        }
        switch (PlainJson.Bare(value))
        {
            case IDictionary members:
                foreach (DictionaryEntry entry in members)
                {
                    if (entry.Key is not string || !HasTextKeys(entry.Value, level + 1))
                    {
                        return false;
                    }
                }
                return true;
            case object?[] items:
                return Array.TrueForAll(items, item => HasTextKeys(item, level + 1));
            default:
                return true;
        }
    }

    private static object? WithTextKeys(object? value, int level)
    {
        if (level > Deepest)
        {
            return value;
        }
        switch (PlainJson.Bare(value))
        {
            case IDictionary members:
                OrderedDictionary table = new(StringComparer.CurrentCultureIgnoreCase);
                foreach (DictionaryEntry entry in members)
                {
                    table[(object)PlainJson.Text(entry.Key)] = WithTextKeys(entry.Value, level + 1);
                }
                return table;
            case object?[] items:
                return Array.ConvertAll(items, item => WithTextKeys(item, level + 1));
            default:
                return value;
        }
    }
}
