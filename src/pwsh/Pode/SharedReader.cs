using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Globalization;
using System.Linq;
using System.Management.Automation;
using System.Numerics;
using System.Reflection;
using System.Text.Json;

namespace SecretBridge.Pode;

/// <summary>Objects from their texts (<see cref="SharedText"/>), in place of older ones where those are of the same kind.</summary>
public sealed class SharedReader
{
    private static readonly Dictionary<string, MethodInfo> s_numbers =
        new[] { typeof(byte), typeof(sbyte), typeof(short), typeof(ushort), typeof(int), typeof(uint), typeof(long), typeof(ulong), typeof(float), typeof(double), typeof(decimal), typeof(BigInteger) }
            .ToDictionary(type => type.Name, type => type.GetMethod("Parse", [typeof(string), typeof(IFormatProvider)])!);

    // Containers in the order in which they begin, for those that stand in two places.
    private readonly List<object> _known = [];

    private SharedReader()
    {
    }

    /// <summary>The object of a text. What had stayed in the older one stays.</summary>
    public static object? Read(string text, object? old)
    {
        using JsonDocument document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 200 });
        return new SharedReader().Read(document.RootElement, old);
    }

    private object? Read(JsonElement node, object? old)
    {
        switch (node.ValueKind)
        {
            case JsonValueKind.String:
                return node.GetString();
            case JsonValueKind.Number:
                return node.GetInt32();
            case JsonValueKind.True:
                return true;
            case JsonValueKind.False:
                return false;
            case JsonValueKind.Null:
                return null;
        }
        string kind = node[0].GetString()!;
        object? bare = PlainJson.Bare(old);
        return kind switch
        {
            "ref" => _known[node[1].GetInt32()],
            "stays" => bare is not null && PlainJson.Text(PlainJson.TypeOf(bare)) == node[1].GetString() ? old : null,
            SharedKinds.Table => ReadTable(node, bare),
            SharedKinds.List => ReadList(node, bare),
            SharedKinds.Custom => ReadCustom(node, bare),
            _ => ReadSimple(kind, node.EnumerateArray().Select(part => part.GetString()!).ToArray()),
        };
    }

    private static object? ReadSimple(string kind, string[] texts)
    {
        CultureInfo invariant = CultureInfo.InvariantCulture;
        switch (kind)
        {
            case "number":
                return s_numbers[texts[1]].Invoke(null, [texts[2], invariant]);
            case "date":
                return DateTime.Parse(texts[1], invariant, DateTimeStyles.RoundtripKind);
            case "char":
                return (char)int.Parse(texts[1], invariant);
            case "span":
                return TimeSpan.FromTicks(long.Parse(texts[1], invariant));
            case "offset":
                return DateTimeOffset.Parse(texts[1], invariant, DateTimeStyles.RoundtripKind);
            case "guid":
                return Guid.Parse(texts[1]);
            case "enum":
                return LanguagePrimitives.TryConvertTo(texts[1], out Type type) && Enum.TryParse(type, texts[2], out object? word) ? word : texts[2];
            case "bytes":
                return Convert.FromBase64String(texts[1]);
            case "secure":
                return SecureText.Make(texts[1]);
            case "credential":
                return new PSCredential(texts[1], SecureText.Make(texts[2]));
            case "clixml":
                return PlainJson.Bare(PSSerializer.Deserialize(texts[1]));
            case "block":
                return ReadBlock(texts);
            default:
                throw new BridgeException("BadCall", $"there is no shared value '{kind}'", ErrorCategory.InvalidArgument);
        }
    }

    private static object? ReadBlock(string[] texts)
    {
        OrderedDictionary sent = PlainJson.NewObject();
        sent["text"] = texts[1];
        sent["file"] = texts[2];
        sent["line"] = int.Parse(texts[3], CultureInfo.InvariantCulture);
        sent["using"] = Array.Empty<object>();
        object? block = PlainJson.Bare(Portable.ToBlock?.Invoke(sent));
        if (block is ScriptBlock compiled)
        {
            SharedText.Keep(compiled, texts);
        }
        return block;
    }

    // The older object, if it is of that kind; how it takes case is its own.
    private static object? Same(string what, string kind, object? old) =>
        old is not null && SharedKinds.Of(old) is (string oldWhat, string oldKind) && oldWhat == what && SharedKinds.Bare(oldKind) == SharedKinds.Bare(kind) ? old : null;

    private IDictionary ReadTable(JsonElement node, object? old)
    {
        string kind = node[1].GetString()!;
        IDictionary table = (IDictionary)(Same(SharedKinds.Table, kind, old) ?? SharedKinds.New(kind, 0));
        _known.Add(table);
        int count = (node.GetArrayLength() - 2) / 2;
        object[] keys = new object[count];
        object?[] values = new object?[count];
        for (int i = 0; i < count; i++)
        {
            keys[i] = Read(node[2 + (2 * i)], null)!;
            values[i] = Read(node[3 + (2 * i)], (old as IDictionary)?[keys[i]]);
        }
        SharedKinds.Fill(table, keys, values);
        return table;
    }

    private object ReadList(JsonElement node, object? old)
    {
        string kind = node[1].GetString()!;
        int count = node.GetArrayLength() - 2;
        object? list = Same(SharedKinds.List, kind, old);
        object?[] olds = list is null ? [] : SharedText.Items((IEnumerable)list).ToArray();
        if (list is null || (list is Array && olds.Length != count))
        {
            list = SharedKinds.New(kind, count);
        }
        _known.Add(list);
        object?[] items = new object?[count];
        for (int i = 0; i < count; i++)
        {
            items[i] = Read(node[2 + i], i < olds.Length ? olds[i] : null);
        }
        SharedKinds.Fill(list, items);
        return list;
    }

    private PSObject ReadCustom(JsonElement node, object? old)
    {
        PSObject custom = old as PSObject ?? new PSObject();
        _known.Add(custom);
        HashSet<string> names = new(StringComparer.OrdinalIgnoreCase);
        for (int i = 2; i < node.GetArrayLength(); i += 2)
        {
            string name = node[i].GetString()!;
            names.Add(name);
            PSPropertyInfo? present = custom.Properties[name];
            object? value = Read(node[i + 1], present?.Value);
            if (present is null)
            {
                custom.Properties.Add(new PSNoteProperty(name, value));
            }
            else
            {
                present.Value = value;
            }
        }
        foreach (string gone in custom.Properties.Select(property => property.Name).Where(name => !names.Contains(name)).ToArray())
        {
            custom.Properties.Remove(gone);
        }
        return custom;
    }
}
